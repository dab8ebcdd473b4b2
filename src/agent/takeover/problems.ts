import { existsSync } from "node:fs";
import { collide, type EdgeSpec, hostPort, listensOn } from "../../model/edge/edge";
import { commandLine, processText, TAKEN_OVER, type TakeoverEntry, titleOf } from "../../model/process/takeover";
import type { StepProblem } from "../api/api-error";
import type { Host } from "../host/host";
import { MARKER_VARIABLE } from "../processes/identity";
import { holdersOf, listeningSockets } from "../processes/listeners";
import { argvOf, asNamed, environmentOf, type TakeoverMatch } from "./existing-processes";

/** Problems of a target's takeover on this host as it is now. */
export async function takeoverProblems(
  host: Host,
  target: string,
  entries: readonly TakeoverEntry[] | undefined,
  edge?: EdgeSpec,
): Promise<StepProblem[]> {
  if (entries === undefined) return [];
  const found = await host.findExisting(target, entries);
  const refused = found.flatMap(({ problems }, index) =>
    problems.map((message) => ({ path: `takeover[${index}]`, message })),
  );
  return edge === undefined ? refused : [...refused, ...(await strangers(edge, found))];
}

/** Addresses of an edge that somebody has whom nothing names. */
async function strangers(edge: EdgeSpec, found: readonly TakeoverMatch[]): Promise<StepProblem[]> {
  const named = new Set(found.flatMap(({ processes }) => processes.map(({ pid }) => pid)));
  const sockets = await listeningSockets();
  const holders = await holdersOf(new Set(sockets.map(({ inode }) => inode)));
  return listensOn(edge).flatMap((listener) => {
    const pids = sockets
      .filter((socket) => collide(listener, socket))
      .flatMap(({ inode }) => holders.get(inode) ?? [])
      .filter((pid) => !named.has(pid) && environmentOf(pid)?.[MARKER_VARIABLE] === undefined);
    const [pid] = pids;
    if (pid === undefined) return [];
    return [
      {
        path: listener.path,
        message: `${hostPort(listener.address, listener.port)} is in use by ${holderText(pid)}`,
      },
    ];
  });
}

function holderText(pid: number): string {
  // There where systemd is the host's first process, and only there: see sd_booted(3).
  return pid === 1 && existsSync("/run/systemd/system")
    ? "systemd itself, for a socket unit: systemctl list-sockets shows which, end it by systemctl disable --now"
    : `process ${pid} (${commandLine(argvOf(pid))}), which takeover does not name: name it there, or end it`;
}

/** State of each entry now: `taken over`, or the process that still runs. */
export async function liveTakeover(
  host: Host,
  target: string,
  entries: readonly TakeoverEntry[] | undefined,
): Promise<{ takeover?: Record<string, string> }> {
  if (entries === undefined) return {};
  const found = await host.findExisting(target, entries);
  return { takeover: Object.fromEntries(found.map((named) => [titleOf(named.entry), shownOf(named)])) };
}

function shownOf({ processes, problems }: TakeoverMatch): string {
  const running = processes.filter(({ follows }) => !follows).map((one) => `${processText(asNamed(one))}, runs`);
  if (running.length > 0) return running.join("; ");
  return problems[0] ?? TAKEN_OVER;
}
