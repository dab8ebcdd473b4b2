import { existsSync, readFileSync, readlinkSync } from "node:fs";
import { request } from "node:http";
import { basename } from "node:path";
import { collide, type EdgeSpec, type Listener, listensOn, withoutListeners } from "../../model/edge/edge";
import type { EdgeBackend } from "../../model/pool/pool-share";
import { commandLine, processText, titleOf } from "../../model/process/takeover";
import type { RouteSpec } from "../../model/route/route";
import { waitFor } from "../../support/waiting";
import type { Haproxy } from "../haproxy/haproxy";
import { isUnreadable } from "../processes/proc-errors";
import { argvOf, asNamed, type ExistingProcess, type TakeoverMatch } from "./existing-processes";
import type { TakeoverOptions, Takeovers } from "./takeovers";

/** Time until an edge's servers must be well before any existing process ends, in milliseconds. */
const READY_MS = 30_000;
const POLL_MS = 20;
/** For one request through the waiting edge, in milliseconds. */
const PROBE_MS = 5000;

/** The wanted edge, all of its addresses included. */
export interface WantedEdge {
  spec: EdgeSpec;
  backends: Record<string, EdgeBackend>;
  routes: Record<string, RouteSpec>;
}

/**
 * Brings an edge to its ports, which existing processes have. Those end last, after everything else was checked: the
 * edge first runs without these ports, and its servers must be well. Where both can listen at the same time, it then
 * listens beside the old ones, and they end; else they end, and it listens at once.
 *
 * @throws where the edge is not well, or something does not give way; what ended so far is given back by the undo
 */
export async function takeEdgeOver(
  target: string,
  { spec, backends, routes }: WantedEdge,
  haproxy: Haproxy,
  takeovers: Takeovers,
  { find, ...taking }: TakeoverOptions & { find: () => Promise<TakeoverMatch[]> },
): Promise<void> {
  const first = await find();
  refuse(first);
  if (first.every(({ processes }) => processes.length === 0)) {
    await haproxy.apply(spec, backends, routes);
    return;
  }
  const before = heldAddresses(spec, first);
  const preparing = withoutListeners(spec, (listener) => before.some((held) => held === listener.path));
  await haproxy.apply(preparing, backends, routes);
  await untilWell(preparing, backends, haproxy, taking);

  // Looked at again, now that it counts.
  const found = await find();
  refuse(found);
  const held = listensOn(spec).filter((listener) => heldAddresses(spec, found).includes(listener.path));
  const shared = held.length > 0 && held.every((listener) => canShare(listener, found));
  if (shared) {
    try {
      await haproxy.apply(spec, backends, routes, { shared: held });
      taking.notify(`the edge listens beside what it takes over, on ${held.map(at).join(", ")}`);
      const untilStopped = await takeovers.take(target, found, listensOn(spec), taking);
      await untilStopped({ hurry: false });
      await takeovers.assertEnded(target, found);
      return;
    } catch (error) {
      if (taking.signal.aborted || !isBindFailure(error)) throw error;
      taking.notify(`${held.map(at).join(", ")} can't be shared: ${(error as Error).message}`);
      await haproxy.apply(preparing, backends, routes);
    }
  }
  const untilStopped = await takeovers.take(target, found, listensOn(spec), taking);
  let listens = false;
  try {
    // At once: until then nobody answers.
    await haproxy.apply(spec, backends, routes);
    listens = true;
  } finally {
    await untilStopped({ hurry: !listens });
    await takeovers.assertEnded(target, found);
  }
}

/** @throws where something speaks against what was found */
export function refuse(found: readonly TakeoverMatch[]): void {
  const problems = found.flatMap((each) => each.problems);
  if (problems.length > 0) throw new Error(problems.join("; "));
}

/** Paths of the edge's listeners whose address one of the found processes has. */
function heldAddresses(spec: EdgeSpec, found: readonly TakeoverMatch[]): string[] {
  const sockets = found.flatMap(({ processes }) => processes.flatMap(({ listens }) => listens));
  return listensOn(spec)
    .filter((listener) => sockets.some((socket) => collide(listener, socket)))
    .map(({ path }) => path);
}

/**
 * Whether HAProxy can listen on an address beside all who do: both must have set SO_REUSEPORT, which the kernel does not
 * tell of another process's socket, and be of the same user, which it tells.
 */
function canShare(listener: Pick<Listener, "address" | "port">, found: readonly TakeoverMatch[]): boolean {
  return found.every(({ entry, processes }) =>
    processes.every((one) =>
      one.listens.every(
        (socket) =>
          !collide(listener, socket) || (socket.uid === process.geteuid?.() && (entry.shares ?? isHaproxy(one))),
      ),
    ),
  );
}

function isHaproxy({ pid, argv }: ExistingProcess): boolean {
  try {
    return (
      basename(readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, "")) === "haproxy" && !argv.includes("-dR")
    );
  } catch (error) {
    if (isUnreadable(error)) return false;
    throw error;
  }
}

/** HAProxy's words for an address that somebody has alone. */
function isBindFailure(error: unknown): boolean {
  return error instanceof Error && /cannot bind|Address already in use/i.test(error.message);
}

/** Waits until each frontend's backend has a server that is up, and answers a request where the frontend still waits. */
async function untilWell(
  { frontends }: EdgeSpec,
  backends: Record<string, EdgeBackend>,
  haproxy: Haproxy,
  { signal }: TakeoverOptions,
): Promise<void> {
  const names = Object.keys(frontends).toSorted();
  let problem = "";
  signal.throwIfAborted();
  const isReady = async () => {
    problem = "";
    const observed = await haproxy.observe();
    for (const [index, name] of names.entries()) {
      const backend = frontends[name]?.defaultBackend ?? "";
      const servers = Object.values(observed.backends[backend] ?? {});
      const up = servers.some(
        ({ operational, state, weight }) => operational !== "down" && state === "ready" && weight > 0,
      );
      if (!up) problem = `no server of backend ${backend} is up`;
      else if (frontends[name]?.binds.length === 0)
        problem = (await probe(haproxy.waitingSocket(index), backends[backend]?.health?.path ?? "/")) ?? problem;
    }
    return problem === "";
  };
  if (await waitFor(isReady, { everyMs: POLL_MS, deadlineMs: READY_MS, signal })) return;
  throw new Error(`nothing was taken over, since the edge can't serve: ${problem} within ${READY_MS} ms`);
}

/** Why a request through a waiting frontend is not answered well; undefined if it is. */
function probe(socketPath: string, path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const call = request({
      socketPath,
      path,
      agent: false,
      headers: { host: "localhost", "user-agent": "sluice-probe" },
    });
    const timer = setTimeout(() => call.destroy(new Error(`no answer within ${PROBE_MS} ms`)), PROBE_MS);
    call.on("response", (response) => {
      response.resume();
      const { statusCode = 0 } = response;
      response.on("close", () => {
        clearTimeout(timer);
        resolve(statusCode < 500 ? undefined : `GET ${path} through it was answered ${statusCode}`);
      });
    });
    call.on("error", (error) => {
      clearTimeout(timer);
      resolve(`GET ${path} through it failed: ${error.message}`);
    });
    // Node.js closes a connection that switches to another protocol, and tells nobody.
    call.on("close", () => {
      clearTimeout(timer);
      resolve(`GET ${path} through it got no answer before the connection was closed`);
    });
    call.end();
  });
}

function at({ address, port }: Listener): string {
  return `${address}:${port}`;
}

/** Describes the takeover of each entry, for a preview. */
export function takeoverPlan(spec: EdgeSpec, found: readonly TakeoverMatch[], waits: boolean): string[] {
  const held = heldAddresses(spec, found);
  const listeners = listensOn(spec).filter(({ path }) => held.includes(path));
  const shared = listeners.length > 0 && listeners.every((listener) => canShare(listener, found));
  const how =
    listeners.length === 0
      ? "ends once the edge can serve"
      : shared
        ? `the edge listens beside it on ${listeners.map(at).join(", ")}, then it ends: no gap`
        : `it ends once the edge can serve, which then listens on ${listeners.map(at).join(", ")}: a gap of some 100 ms`;
  return [
    ...describeFound(found, how),
    ...(shared ? lossAdvice() : []),
    ...(waits ? ["the edge listens once every frontend's backend has a server"] : []),
  ];
}

/**
 * Setting by which connections that a closing listener has not accepted move to others on its port; without it they are
 * lost.
 */
const MIGRATE = "/proc/sys/net/ipv4/tcp_migrate_req";

function lossAdvice(): string[] {
  // Since Linux 5.14.
  const set = existsSync(MIGRATE) && readFileSync(MIGRATE, "latin1").trim() === "1";
  return set
    ? []
    : [
        "connections that it has not accepted when it ends are reset: set net.ipv4.tcp_migrate_req=1 by sysctl before, so that none is",
      ];
}

/** One line for each process that would be taken over, or why there is none. */
export function describeFound(found: readonly TakeoverMatch[], how: string): string[] {
  const all = new Set(found.flatMap(({ processes }) => processes.map(({ pid }) => pid)));
  return found.flatMap(({ entry, processes, problems, nothing, advice }) => {
    // Its problems are reported with the refusal.
    if (processes.length === 0 && problems.length > 0) return [];
    if (processes.length === 0) return [`nothing to take over for ${titleOf(entry)}: ${nothing ?? "it does not run"}`];
    const stop = entry.unit === undefined ? [] : [`systemctl stop ${entry.unit}`];
    const by = [...(entry.signal === undefined ? [] : [entry.signal]), ...stop].join(", then ") || "SIGTERM";
    const asked = processes.filter(({ follows }) => !follows);
    return [
      ...asked.map((one) => `takes over ${titleOf(entry)}: ${processText(asNamed(one))} (${by}); ${how}`),
      ...(entry.unit === undefined ? asked : []).flatMap(({ pid, parent }) =>
        parent <= 1 || all.has(parent)
          ? []
          : [
              `process ${pid} was started by process ${parent} (${commandLine(argvOf(parent))}): if that would start it again, name it, too`,
            ],
      ),
      ...advice,
    ];
  });
}
