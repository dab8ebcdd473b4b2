import { stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { Command } from "commander";
import { z } from "zod";
import type { AgentClient } from "../agent/client/client";
import { AgentError } from "../agent/client/connection";
import { type Check, check } from "../model/protocol/recovery";
import { safeJson } from "../model/types/safe-text";
import { withAgent } from "./common/agent";
import { EXIT, type ExitCode, type Terminal, UsageError } from "./common/exit";
import { unknownName } from "./common/nearest";
import { type AgentGiven, withAgentOptions } from "./common/options";
import { type TextStyle, type Tone, textStyleOf, toned, wrapped } from "./common/screen";
import { counted } from "./common/units";
import { statusOf } from "./status/document";
import type { StatusDocument } from "./status/schema";

/** Document of `sluice doctor --json`. */
export const doctorDocument = z.strictObject({
  where: z.string().describe("socket or host of the agent"),
  verdict: z.enum(["good", "warning", "problem"]).describe("the worst of its checks"),
  checks: z.array(check),
});
export type DoctorDocument = z.output<typeof doctorDocument>;

/** Difference between the clocks of two hosts that is worth a word, in milliseconds. */
const CLOCK_SKEW_MS = 5000;

interface Given extends AgentGiven {
  release?: string;
  pool?: string;
}

/** `sluice doctor`: everything that a promotion needs of a host, and of a release before it is deployed. */
export function doctorCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return withAgentOptions(
    new Command("doctor").description(
      "Checks the agent and its host or, with --release, a release before it is deployed.",
    ),
  )
    .option(
      "--release <folder>",
      "check this folder on the agent's host against its pools' declarations: templates, folders, commands",
    )
    .option("--pool <name>", "with --release: against this pool only")
    .action(async (given: Given) => finish(await doctor(given, terminal)));
}

async function doctor(given: Given, terminal: Terminal): Promise<ExitCode> {
  if (given.pool !== undefined && given.release === undefined)
    throw new UsageError(["--pool needs --release: give the release's folder"]);
  return withAgent(given, terminal, async ({ client, where }) => {
    const checks =
      given.release === undefined
        ? await agentChecks(client, given, where)
        : await releaseChecks(client, given, given.release);
    const verdict =
      (["problem", "warning", "good"] as const).find((each) => checks.some((one) => one.verdict === each)) ?? "good";
    const document: DoctorDocument = { where, verdict, checks };
    terminal.stdout.write(given.json ? `${safeJson(document, 2)}\n` : doctorText(document, textStyleOf(terminal)));
    return verdict === "problem" ? EXIT.problems : EXIT.good;
  });
}

async function agentChecks(client: AgentClient, { host }: Given, where: string): Promise<Check[]> {
  const before = Date.now();
  const { now, checks } = await client.doctor();
  const after = Date.now();
  const status = statusOf(await client.status(), where, new Date());
  const isTold = (message: string) => checks.some((each) => each.message === message);
  const found = status.problems
    .filter(({ message }) => !isTold(message))
    .map(({ subject, message, outage = false }) => ({
      outage,
      check: { name: outage ? "traffic" : "reality", verdict: "problem" as const, message: `${subject}: ${message}` },
    }));
  const checksOf = (wanted: boolean) => found.flatMap(({ outage, check }) => (outage === wanted ? [check] : []));
  const [traffic, reality] = [checksOf(true), checksOf(false)];
  const skew = skewOf(Date.parse(now), before, after);
  return [
    ...(traffic.length > 0 ? traffic : [trafficGood(status)]),
    ...(await socketChecks(host, status.agent.socket)),
    ...versionChecks(status.agent.version),
    ...checks,
    ...(skew === 0
      ? []
      : [
          {
            name: "clock",
            verdict: "warning" as const,
            message: `it is ${Math.round(skew / 1000)} s off this host's clock: use a time service on both`,
          },
        ]),
    ...(found.length > 0
      ? reality
      : [{ name: "reality", verdict: "good" as const, message: "everything is as committed" }]),
  ];
}

function trafficGood({ edges }: StatusDocument): Check {
  const message =
    edges.length === 0
      ? "no edge is declared, so there is no traffic"
      : "every backend that receives requests has a server that takes them";
  return { name: "traffic", verdict: "good", message };
}

/** How far a clock is off, the time that the answer took left aside. */
function skewOf(theirs: number, before: number, after: number): number {
  const skew = theirs < before ? theirs - before : theirs > after ? theirs - after : 0;
  return Math.abs(skew) > CLOCK_SKEW_MS ? skew : 0;
}

async function socketChecks(host: string | undefined, socket: string): Promise<Check[]> {
  if (host !== undefined) return [{ name: "socket", verdict: "good", message: `${socket} answers through ssh` }];
  const [own, folder] = await Promise.all([stat(socket), stat(dirname(socket))]);
  const mode = (own.mode & 0o777).toString(8).padStart(4, "0");
  if ((own.mode & 0o002) !== 0)
    return [
      {
        name: "socket",
        verdict: "problem",
        message: `${socket} has mode ${mode}, so everybody on this host can change traffic: declare another mode`,
      },
    ];
  const open = (folder.mode & 0o022) !== 0 && (folder.mode & 0o1000) === 0;
  if (open)
    return [
      {
        name: "socket",
        verdict: "problem",
        message: `others may replace ${socket}, since they can write to its folder: chmod go-w ${dirname(socket)}`,
      },
    ];
  return [
    { name: "socket", verdict: "good", message: `${socket} answers, mode ${mode}, user ${own.uid}, group ${own.gid}` },
  ];
}

/** Set by the bundler. */
declare const SLUICE_AGENT: { version: string };

function versionChecks(version: string): Check[] {
  return version === SLUICE_AGENT.version
    ? [{ name: "version", verdict: "good", message: `the agent has this version, ${version}` }]
    : [
        {
          name: "version",
          verdict: "warning",
          message: `the agent is ${version}, and this is ${SLUICE_AGENT.version}: pulumi up replaces it, apps go on`,
        },
      ];
}

async function releaseChecks(client: AgentClient, { host, pool }: Given, release: string): Promise<Check[]> {
  if (host !== undefined && !release.startsWith("/"))
    throw new UsageError([
      `--release ${JSON.stringify(release)} must be an absolute path with --host: it is a folder there`,
    ]);
  try {
    const { checks } = await client.checkRelease({ path: resolve(release), ...(pool === undefined ? {} : { pool }) });
    return checks;
  } catch (error) {
    if (error instanceof AgentError && error.code === "not-found" && pool !== undefined)
      throw new UsageError([unknownName("pool", pool, (error.data.known as string[] | undefined) ?? [])]);
    throw error;
  }
}

const TONES: Record<Check["verdict"], Tone> = { good: "good", warning: "warn", problem: "bad" };
const MARKS: Record<Check["verdict"], string> = { good: "ok", warning: "warning", problem: "PROBLEM" };
const ORDER = ["problem", "warning", "good"] as const;

/** Problems come first. */
export function doctorText({ checks, where }: DoctorDocument, style: TextStyle): string {
  const count = (verdict: Check["verdict"]) => checks.filter((each) => each.verdict === verdict).length;
  const [problems, warnings] = [count("problem"), count("warning")];
  const summary =
    problems > 0 ? counted(problems, "problem") : warnings > 0 ? counted(warnings, "warning") : "all good";
  const tone = problems > 0 ? "bad" : warnings > 0 ? "warn" : "good";
  const width = Math.max(...checks.map(({ name }) => name.length), 0);
  const mark = Math.max(...checks.map(({ verdict }) => MARKS[verdict].length), 0);
  const indent = mark + width + 4;
  const isOutage = ({ name, verdict }: Check) => name === "traffic" && verdict === "problem";
  const outages = checks
    .filter(isOutage)
    .flatMap(({ message }) => wrapped(message, style.width, "  ").map((line) => `${toned(line, "bad", style)}\n`));
  const others = checks.filter((each) => !isOutage(each));
  const lines = ORDER.flatMap((verdict) => others.filter((each) => each.verdict === verdict)).flatMap(
    ({ name, verdict, message }) => {
      const [first = "", ...rest] = wrapped(message, style.width - indent);
      const head = `${toned(MARKS[verdict].padEnd(mark), TONES[verdict], style)}  ${name.padEnd(width)}  ${first}`;
      return [head.trimEnd(), ...rest.map((line) => " ".repeat(indent) + line)];
    },
  );
  return `${outages.join("")}${toned(summary, tone, style)}${toned(`  ${where}`, "dim", style)}\n\n${lines.join("\n")}\n`;
}
