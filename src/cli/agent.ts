import { chown, readdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Command } from "commander";
import { z } from "zod";
import { installAgent, stopAgent } from "../agent/client/launch";
import { agentOptions } from "../model/protocol/agent";
import { issueMessage } from "../model/types/messages";
import { safeJson } from "../model/types/safe-text";
import { findUser, type User } from "../support/accounts";
import { agentProgram } from "./agent/bundle";
import { disownCommand } from "./agent/disown";
import { systemdUnit } from "./agent/unit";
import { withAgent } from "./common/agent";
import { EXIT, type ExitCode, type Terminal, UsageError } from "./common/exit";
import { type AgentGiven, withAgentOptions } from "./common/options";
import { table, textStyleOf, toned } from "./common/screen";
import { SYSTEM_SOCKET } from "./common/sockets";
import { span } from "./common/units";

const DEFAULT_DIRECTORY = "/var/lib/sluice";
const UNIT = "/etc/systemd/system/sluice-agent.service";
/** For an agent to end, in milliseconds. */
const STOP_MS = 60_000;

/** Document of `sluice agent stop --json`. */
export const stopDocument = z.strictObject({ stopped: z.string().describe("socket of the stopped agent") });

/** Document of `sluice agent status --json`. */
export const agentDocument = z.strictObject({
  where: z.string().describe("socket or host"),
  version: z.string(),
  protocol: z.int().describe("version of its API"),
  pid: z.int(),
  since: z.iso.datetime(),
  socket: z.string(),
  directory: z.string().describe("its state folder"),
  guarded: z.boolean().describe("whether a guard or systemd restarts it when it dies"),
  notes: z
    .array(z.string())
    .describe("problems of its state that it found at its start, and current problems of its folder"),
});

interface InstallGiven {
  directory: string;
  socket: string;
  mode?: string;
  group?: string;
  log?: string;
  user?: string;
  unit: string;
  print?: boolean;
}

/** `sluice agent`: the daemon itself. */
export function agentCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  const agent = new Command("agent").description(
    "Installs the agent as a systemd service, shows it, stops it, or releases it from a removed stack.",
  );
  agent.addCommand(
    new Command("install")
      .description("Installs this version's agent and writes its systemd unit; starts nothing.")
      .option("--directory <path>", "state folder of the agent", DEFAULT_DIRECTORY)
      .option("--socket <path>", "its Unix socket", SYSTEM_SOCKET)
      .option("--mode <mode>", "mode of the socket, octal (default: 0600)")
      .option("--group <group>", "group of the socket")
      .option("--log <path>", "file for its events, reopened on SIGHUP (default: systemd's journal)")
      .option("--user <name>", "account to run as (default: root)")
      .option("--unit <path>", "path of the unit", UNIT)
      .option("--print", "print the unit, and change nothing")
      .action(async (given: InstallGiven) => finish(await install(given, terminal))),
  );
  agent.addCommand(
    withAgentOptions(new Command("status").description("Shows the agent itself.")).action(async (given: AgentGiven) =>
      finish(await show(given, terminal)),
    ),
  );
  agent.addCommand(
    withAgentOptions(
      new Command("stop").description("Stops the agent; processes and traffic go on, unsupervised."),
    ).action(async (given: AgentGiven) => finish(await stop(given, terminal))),
  );
  agent.addCommand(disownCommand(terminal, finish));
  return agent;
}

async function install(given: InstallGiven, terminal: Terminal): Promise<ExitCode> {
  const { user, print } = given;
  const directory = resolve(given.directory);
  const parsed = agentOptions.safeParse(
    {
      socket: given.socket,
      ...(given.mode === undefined ? {} : { mode: given.mode }),
      group: given.group,
      log: given.log,
    },
    { error: issueMessage },
  );
  if (!parsed.success)
    throw new UsageError(parsed.error.issues.map(({ path, message }) => `--${path.join(".")} ${message}`));
  if (user !== undefined && !/^[a-z_][a-z0-9_-]{0,31}$/.test(user))
    throw new UsageError([`--user ${JSON.stringify(user)} is not the name of a user`]);
  const runtime = /^\/run\/([A-Za-z0-9_.-]+)\/[^/]+$/.exec(parsed.data.socket)?.[1];
  const unit = systemdUnit({ node: process.execPath, directory, runtimeDirectory: runtime, user });
  if (print) {
    terminal.stdout.write(unit);
    return EXIT.good;
  }
  try {
    const account = user === undefined ? undefined : await accountOf(user);
    await installAgent(directory, parsed.data, agentProgram());
    if (account !== undefined) await give(directory, account);
    await writeFile(given.unit, unit, { mode: 0o644 });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined && !(error instanceof UsageError)) throw new UsageError([message]);
    if (code === "EACCES" || code === "EPERM") throw new UsageError([`${message}: run this as root`]);
    throw error;
  }
  const name = given.unit.split("/").at(-1) ?? "";
  terminal.stdout.write(
    `${toned(`agent ${agentProgram().version} is installed in ${directory}, and its unit is ${given.unit}`, "good", textStyleOf(terminal))}\n\nStart it now and at every boot:\n  systemctl daemon-reload && systemctl enable --now ${name}\nIf it runs already, switch to this version (processes and traffic go on):\n  systemctl daemon-reload && systemctl restart ${name}\n`,
  );
  return EXIT.good;
}

async function accountOf(user: string): Promise<User> {
  const account = await findUser(user);
  if (account === undefined) throw new UsageError([`--user ${user} is not on this host: create it first`]);
  return account;
}

/** The agent demands that its folder is its own user's alone. */
async function give(directory: string, { uid, gid }: User): Promise<void> {
  const bin = join(directory, "bin");
  const files = (await readdir(bin)).map((file) => join(bin, file));
  for (const path of [...files, bin, join(directory, "agent.json"), directory]) await chown(path, uid, gid);
}

async function show(given: AgentGiven, terminal: Terminal): Promise<ExitCode> {
  return withAgent(given, terminal, async ({ client, where }) => {
    const { version, protocol, pid, since, socket, directory, guarded, notes } = await client.about();
    const document = { where, version, protocol, pid, since, socket, directory, guarded, notes };
    const style = textStyleOf(terminal);
    const rows = [
      ["version", version],
      ["pid", String(pid)],
      ["up", span(Date.now() - Date.parse(since))],
      ["socket", socket],
      ["state", directory],
      [
        "restarts",
        guarded ? "by itself when it dies" : { text: "nothing restarts it when it dies", tone: "bad" as const },
      ],
      ...notes.map((note) => ["note", { text: note, tone: "bad" as const }]),
    ];
    const lines = table([{ title: "AGENT" }, { title: where, least: 20 }], rows, style);
    terminal.stdout.write(given.json ? `${safeJson(document, 2)}\n` : `${lines.join("\n")}\n`);
    return guarded && notes.length === 0 ? EXIT.good : EXIT.problems;
  });
}

async function stop(given: AgentGiven, terminal: Terminal): Promise<ExitCode> {
  if (given.host !== undefined) throw new UsageError(["agent stop works only on the agent's own host: log in there"]);
  return withAgent(given, terminal, async ({ client, where }) => {
    await stopAgent(await client.about(), AbortSignal.timeout(STOP_MS));
    terminal.stdout.write(
      given.json
        ? `${safeJson(stopDocument.parse({ stopped: where }))}\n`
        : `the agent at ${where} has ended; processes and traffic go on\n`,
    );
    return EXIT.good;
  });
}
