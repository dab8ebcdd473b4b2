import { mkdir, readdir, readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { type EvidenceRetention, evidenceRetention } from "../model/evidence/retention";
import { agentOptions } from "../model/protocol/agent";
import { butNotUp, PROTOCOL } from "../model/protocol/transaction";
import { ApiError } from "./api/api-error";
import { createApi } from "./api/server";
import { isLive, listenOnSocket } from "./api/socket";
import { type EventLog, LogFile, StandardOutput } from "./events/event-log";
import { Events } from "./events/events";
import { Evidence } from "./evidence/evidence";
import type { Left } from "./evidence/recovery";
import { hostFacts } from "./haproxy/config/host-facts";
import { findHaproxy } from "./haproxy/config/version";
import { Host } from "./host/host";
import { OutageWatch } from "./host/outage-watch";
import { Meter } from "./meter/meter";
import { MIRROR_ARGUMENT, Mirror, mirrorSocket } from "./mirror/mirror";
import type { Reused } from "./operator/recovery";
import { readStat } from "./processes/identity";
import { OutputTimes } from "./processes/output/output-times";
import { ProcessManager } from "./processes/process-manager";
import { Artifacts } from "./releases/artifacts";
import { RetainedReleases } from "./releases/retained-releases";
import { concerns } from "./state/desired";
import { DiskReserve } from "./state/disk-reserve";
import { assertUnlocked, FolderLocked, lockFolder } from "./state/folder-lock";
import { assertSocketFolder, ensurePrivateFolder } from "./state/private-folder";
import { Secrets } from "./state/secrets";
import { StateFile } from "./state/state";
import { folderLook } from "./state/state-folder";
import { removeTemporaries } from "./support/files";
import { inParallel } from "./support/in-parallel";
import { Takeovers } from "./takeover/takeovers";
import { Journal } from "./transactions/journal";
import { Transactions } from "./transactions/transactions";
import { untilUp } from "./transactions/until-up";

/** Time for the undo of open transactions when the agent is told to stop, in milliseconds: less than service managers give. */
const UNDO_DEADLINE_MS = 20_000;
/** Time for the evidence of what has ended to be written when the agent stops, in milliseconds; the next agent does the rest. */
const EVIDENCE_DEADLINE_MS = 2000;
/** Pause between two searches for a good copy of a state that can't be trusted, in milliseconds. */
const RELOAD_MS = 1000;
/** How many folders are swept at once. */
const SWEEP_AT_ONCE = 16;
/** Exit code that asks the guard to start the version that is installed now, at once. */
const EXIT_RESTART = 75;

/** Set by the systemd unit: who restarts the agent, and keeps its standard output. */
const SUPERVISED = process.env.SLUICE_SUPERVISOR === "systemd";

const configFile = z.strictObject({ version: z.string(), options: agentOptions });

async function readConfig(directory: string): Promise<z.output<typeof configFile>> {
  return configFile.parse(JSON.parse(await readFile(join(directory, "agent.json"), "utf8")));
}

/** Starts the agent of a state folder: adopts what runs, undoes what was left open, then listens. */
async function main(directory: string): Promise<void> {
  await ensurePrivateFolder(directory);
  const { version, options } = await readConfig(directory);
  await assertUnlocked(directory);
  await assertSocketFolder(dirname(options.socket));
  if (await isLive(options.socket))
    throw new FolderLocked(`${options.socket} belongs to a running agent: stop that one, or use another socket`);
  const diskReserve = new DiskReserve(directory);
  // A full disk must not keep the agent from coming back: processes and traffic depend on it.
  await diskReserve.during(() => start(directory, version, options, diskReserve));
}

async function start(
  directory: string,
  version: string,
  options: z.output<typeof agentOptions>,
  diskReserve: DiskReserve,
): Promise<void> {
  const release = await lockFolder(directory, options.socket);
  for (const folder of ["edges", "processes", "secrets", "takeovers"])
    await mkdir(join(directory, folder), { recursive: true, mode: 0o700 });
  await sweep(directory);

  // A full disk behind the log must not end the agent; events are kept in memory and in a file of their own.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
  const events = new Events(directory, logOf(options));
  const stateFile = new StateFile(directory);
  const loaded = await stateFile.load();
  for (const note of loaded.notes) events.emit(note);
  const about = {
    version,
    protocol: PROTOCOL,
    pid: process.pid,
    since: new Date().toISOString(),
    socket: options.socket,
    options,
    directory,
    notes: loaded.notes,
    guard: process.ppid,
  };

  if (loaded.kind === "unreadable") {
    await serveNothing(about, events, options, stateFile);
    return;
  }
  if (!loaded.complete) for (const note of await stateFile.save(loaded.state)) events.emit(note);
  const { journal, open, notes } = await Journal.openIn(directory);
  for (const note of notes) events.emit(note);
  const reused: Reused[] = [];
  const processes = await ProcessManager.open({
    directory: join(directory, "processes"),
    marker: loaded.state.agent,
    onEvent: ({ message, data }) => {
      events.emit(message, data);
      const { id, reusedPid: pid, startTime } = data;
      if (typeof id === "string" && typeof pid === "number" && typeof startTime === "string")
        reused.push({ id, pid, startTime });
    },
  });
  const outputTimes = new OutputTimes(
    () => processes.list().map(({ id }) => processes.outputPath(id)),
    processes.rotations,
  );
  const { secrets, notes: unreadable } = await Secrets.openIn(directory, loaded.state.digestKey);
  for (const note of unreadable) events.emit(note);
  about.notes.push(...notes, ...unreadable);
  const workerGroup = hostFacts().account?.group;
  const mirror = new Mirror({
    directory,
    group: workerGroup,
    program: process.argv[1] ?? "",
    marker: loaded.state.agent,
    log: (message, data) => events.emit(message, data),
    counted: (count) => meter.addShadow(count),
  });
  const host = new Host({
    directory,
    haproxyBinary: findHaproxy(),
    mirrorSocket: mirrorSocket(directory, workerGroup),
    desires: (desired) => {
      meter.want(host.meteredEdges());
      mirror.want(desired);
    },
    mirrorReady: () => mirror.ready(),
    applied: (edge) => meter.look(edge),
    committed: loaded.state,
    stateFile,
    processes,
    events,
    secrets,
    retainedReleases: new RetainedReleases(directory, events),
    artifacts: new Artifacts(directory),
    takeovers: new Takeovers({ directory, marker: loaded.state.agent, events }),
  });
  const meter: Meter = new Meter({
    directory,
    releaseOf: (edge, backend, server) => host.releaseOf(edge, backend, server),
    log: (message) => events.emit(message),
  });
  const evidence = new Evidence({
    directory: join(directory, "evidence"),
    host,
    events,
    meter,
    secrets: () => secrets.known(),
    agent: { version, host: hostname() },
    copies: async () => (await mirror.figures()).routes,
    retention: options.evidence,
  });
  const reload = async () => {
    const { options: wanted } = await readConfig(directory);
    const taken = { ...about.options, evidence: wanted.evidence };
    if (!isDeepStrictEqual(taken.evidence, about.options.evidence))
      events.emit(`evidence is kept ${retentionInWords(wanted.evidence)} from now on`);
    about.options = taken;
    await evidence.keep(wanted.evidence);
    return {};
  };
  const folder = folderLook({ directory, stateFile, diskReserve });
  const outages = new OutageWatch({ host, events, folderProblems: folder, guarded: () => isGuarded(about.guard) });
  const transactions = new Transactions({ host, journal, events, secrets, diskReserve, evidence });

  const stop = (restart: boolean) => {
    transactions.close();
    outages.close();
    host.close();
    const unmirrored = mirror.close();
    outputTimes.close();
    processes.close();
    server.close();
    events.emit(
      restart ? "the agent restarts; processes and traffic go on" : "the agent stops; processes and traffic go on",
    );
    const written = evidence.close(EVIDENCE_DEADLINE_MS).then(() => Promise.all([meter.close(), events.flush()]));
    void Promise.all([written, unmirrored, release()]).finally(() => process.exit(restart ? EXIT_RESTART : 0));
  };
  const recovery = {
    processes,
    events,
    directory: join(directory, "processes"),
    marker: loaded.state.agent,
    reused,
  };
  const server = createApi({
    host,
    transactions,
    evidence,
    meter,
    mirror,
    events,
    operator: { host, directory, recovery, folderProblems: folder },
    output: { processes, times: outputTimes, secretsOf: (pool) => secrets.valuesOf(pool) },
    about: () => ({ ...about, guarded: isGuarded(about.guard), declarers: host.committed.declarers }),
    folderProblems: folder,
    reload,
    shutdown: stop,
  });
  for (const signal of ["SIGTERM", "SIGINT"] as const)
    process.on(signal, () => {
      // Nobody would undo it until the agent is started again.
      void transactions.undoAll(`the agent was told to stop (${signal})`, UNDO_DEADLINE_MS).finally(() => stop(false));
    });
  process.on("SIGHUP", () => events.reopen());

  const isCommitted = (id: string) => host.committed.transactions.some((entry) => entry.id === id);
  for (const { id, target, owner, at } of open) {
    const committed = isCommitted(id);
    const what = committed ? "had been committed" : "is being undone";
    events.emit(
      `the agent had stopped during the transaction of ${owner.who} on ${target} (since ${at}), which ${what}`,
      { transaction: id, target },
    );
    await journal.append(committed ? { kind: "committed", id } : { kind: "undone", id });
  }
  // Traffic does not depend on it: an agent without a meter says so, and does everything else.
  await meter.start().catch((error: Error) => events.emit(`the meter can't start: ${error.message}`));
  await host.boot();
  outages.start();
  const left = await Promise.all(
    open.map(async (one): Promise<Left> => {
      const { id, target } = one;
      if (isCommitted(id)) return one;
      const notUp = await untilUp(host.supervisor, concerns(target, [host.committed]).pools);
      events.emit(`the transaction on ${target} is undone${butNotUp(notUp)}`, { transaction: id, target });
      transactions.undoneAtStart(one, notUp);
      return { ...one, notUp };
    }),
  );
  evidence.recover(left);
  void host.reconciler.inBackground([], () => host.retainedReleases.reconcile(host.committed.pools));
  void host.reconciler.inBackground([], () =>
    host.artifacts.prune(Object.values(host.committed.pools), { starting: true }),
  );
  await listenOnSocket(server, options);
  events.emit(`the agent ${version} listens on ${options.socket}`, { pid: process.pid });
}

/** Whether something restarts the agent when it dies: systemd, or the guard that started it. */
function isGuarded(guard: number): boolean {
  // One that a signal has stopped starts nothing.
  return SUPERVISED || (process.ppid === guard && guard !== 1 && readStat(guard)?.state !== "T");
}

function retentionInWords(given: EvidenceRetention | undefined): string {
  const { count, days, size } = given ?? evidenceRetention.parse({});
  return `for ${days} days, ${count} transactions and ${size} at most`;
}

function logOf({ log }: z.output<typeof agentOptions>): EventLog | undefined {
  if (log !== undefined) return new LogFile(log);
  return SUPERVISED ? new StandardOutput() : undefined;
}

/** Removes what an agent that was killed has left half written; in the folder itself others write, too. */
async function sweep(directory: string): Promise<void> {
  await removeTemporaries(directory, (name) => !name.startsWith(".agent.json."));
  await removeTemporaries(join(directory, "secrets"));
  await removeTemporaries(join(directory, "takeovers"));
  for (const folder of ["edges", "processes"]) {
    const entries = await readdir(join(directory, folder), { withFileTypes: true });
    const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(directory, folder, name));
    await inParallel(folders, SWEEP_AT_ONCE, (each) => removeTemporaries(each));
  }
}

/** With a state that can't be trusted, the agent says so and changes nothing until a good copy is there; processes and traffic go on as they are. */
async function serveNothing(
  about: Record<string, unknown>,
  events: Events,
  options: z.output<typeof agentOptions>,
  stateFile: StateFile,
): Promise<void> {
  const { createServer } = await import("node:http");
  const message = `the agent's state could not be read, so it changes nothing: ${(about.notes as string[]).join("; ")}; put a good copy back as state.json in ${about.directory}: the agent then starts again with it`;
  events.emit(message);
  const problem = new ApiError(503, "no-state", message);
  const server = createServer((_, response) => {
    response.writeHead(problem.status, { "content-type": "application/json" });
    response.end(JSON.stringify({ error: { code: problem.code, message, about } }));
  });
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => process.exit(0));
  await listenOnSocket(server, options);
  for (;;) {
    await sleep(RELOAD_MS);
    if ((await stateFile.load()).kind === "loaded") process.exit(EXIT_RESTART);
  }
}

function run(directory: string | undefined): void {
  if (directory === undefined) {
    process.stderr.write("usage: agent STATE_FOLDER\n");
    process.exit(2);
  }
  main(directory).catch((error: unknown) => {
    // Tells in the guard's log which agent failed, since several write to it.
    process.stderr.write(
      `the agent of guard ${process.ppid} can't start: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    // The agent that has the folder has a guard of its own.
    process.exit(error instanceof FolderLocked ? 0 : 1);
  });
}

const argument = process.argv[2];
// The agent itself has no use for what that needs, and would carry it in its memory.
if (argument === MIRROR_ARGUMENT) void import("./mirror/process").then(({ runMirrorProcess }) => runMirrorProcess());
else run(argument);
