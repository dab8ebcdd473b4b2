import { hostname } from "node:os";
import { join } from "node:path";
import type { Events } from "../events/events";
import { Evidence } from "../evidence/evidence";
import { hostFacts } from "../haproxy/config/host-facts";
import { findHaproxy } from "../haproxy/config/version";
import { Host } from "../host/host";
import { OutageWatch } from "../host/outage-watch";
import { Meter } from "../meter/meter";
import { Mirror, mirrorSocket } from "../mirror/mirror";
import type { Reused } from "../operator/recovery";
import { OutputTimes } from "../processes/output/output-times";
import { ProcessManager } from "../processes/process-manager";
import { Artifacts } from "../releases/artifacts";
import { RetainedReleases } from "../releases/retained-releases";
import type { DiskReserve } from "../state/disk-reserve";
import { assertLockedHere } from "../state/folder-lock";
import { Secrets } from "../state/secrets";
import type { Committed, StateFile } from "../state/state";
import { folderLooks } from "../state/state-folder";
import { Takeovers } from "../takeover/takeovers";
import { Journal } from "../transactions/journal";
import { Transactions } from "../transactions/transactions";
import { isGuarded, type OwnFacts } from "./about";

export interface Given {
  about: OwnFacts;
  state: Committed;
  stateFile: StateFile;
  diskReserve: DiskReserve;
  events: Events;
}

/** Parts of an agent, connected, none of which has begun to act. */
export type Parts = Awaited<ReturnType<typeof compose>>;

/** Connects the parts of an agent over its state; notes of what could not be read are added to its facts. */
export async function compose(given: Given) {
  const { about, state, stateFile, diskReserve, events } = given;
  const { directory } = about;
  const { journal, open, notes } = await Journal.openIn(directory);
  for (const note of notes) events.emit(note);
  const { processes, recovery } = await openProcesses(given);
  const { secrets, notes: unreadable } = await Secrets.openIn(directory, state.digestKey);
  for (const note of unreadable) events.emit(note);
  about.notes.push(...notes, ...unreadable);
  const { host, meter, mirror } = await composeHost({ ...given, processes, secrets });
  const evidence = new Evidence({
    directory: join(directory, "evidence"),
    host,
    events,
    meter,
    secrets: () => secrets.known(),
    agent: { version: about.version, host: hostname() },
    copies: async () => (await mirror.figures()).routes,
    retention: about.options.evidence,
  });
  const folder = folderLooks({
    ...{ directory, stateFile, diskReserve },
    restorable: {
      journal: () => journal.restoreFiles(),
      secrets: () => secrets.restoreFiles(),
      "folder of measurements": () => meter.restoreFiles(),
      "processes' records": () => processes.restoreFiles(),
      "edges' files": () => host.restoreEdgeFiles(),
    },
    restored: (what) => events.emit(what),
  });
  const outages = new OutageWatch({ host, events, folder, guarded: () => isGuarded(about.guard) });
  const transactions = new Transactions({
    ...{ host, journal, events, secrets, diskReserve, evidence },
    assertOwnFolder: () => assertLockedHere(directory),
  });
  const outputTimes = new OutputTimes(
    () => processes.list().map(({ id }) => processes.outputPath(id)),
    processes.rotations,
  );
  return {
    ...{ about, events, secrets, processes, recovery, outputTimes, host, meter, mirror },
    ...{ evidence, folder, outages, transactions, journal, open },
  };
}

/** The processes that run, and what recovery has to know of those that can't be supervised. */
async function openProcesses({ about, state, events }: Given) {
  const directory = join(about.directory, "processes");
  const reused: Reused[] = [];
  const processes = await ProcessManager.open({
    directory,
    marker: state.agent,
    onEvent: ({ message, data }) => {
      events.emit(message, data);
      const { id, reusedPid: pid, startTime } = data;
      if (typeof id === "string" && typeof pid === "number" && typeof startTime === "string")
        reused.push({ id, pid, startTime });
    },
  });
  return { processes, recovery: { processes, events, directory, marker: state.agent, reused } };
}

/** The host, with the meter and the mirror of its edges, which know of each other. */
async function composeHost({
  about: { directory },
  state,
  stateFile,
  events,
  processes,
  secrets,
}: Given & { processes: ProcessManager; secrets: Secrets }) {
  const workerGroup = (await hostFacts()).account?.gid;
  const mirror = new Mirror({
    directory,
    group: workerGroup,
    program: process.argv[1] ?? "",
    marker: state.agent,
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
    committed: state,
    stateFile,
    processes,
    events,
    secrets,
    retainedReleases: new RetainedReleases(directory, events),
    artifacts: new Artifacts(directory),
    takeovers: new Takeovers({ directory, marker: state.agent, events }),
  });
  const meter: Meter = new Meter({
    directory,
    releaseOf: (edge, backend, server) => host.releaseOf(edge, backend, server),
    log: (message) => events.emit(message),
  });
  return { host, meter, mirror };
}
