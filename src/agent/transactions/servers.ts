import { setTimeout as sleep } from "node:timers/promises";
import type { BackendSpec, Server, ServerState } from "../../model/edge/backend";
import type { Step } from "../../model/protocol/transaction";
import { milliseconds } from "../../model/types/duration";
import { waitFor } from "../../support/waiting";
import type { StepProblem } from "../api/api-error";
import { ApiError } from "../api/api-error";
import type { ServerObservation } from "../haproxy/observation";
import { probeThrough } from "../host/edge-probe";
import type { Host } from "../host/host";
import type { Overlay } from "../state/desired";
import type { StepContext } from "./step-context";

/** Pause between two checks of a server, in milliseconds. */
const CHECK_MS = 100;

export type Drain = Extract<Step, { verb: "server.drain" }>;
type Enable = Extract<Step, { verb: "server.enable" }>;

/**
 * Takes one server of a declared backend out of the traffic for as long as the transaction is open, and waits until nothing
 * uses it any more, but not longer than the deadline. Answers how many connections are left.
 */
export async function drainServer(context: StepContext, step: Drain): Promise<() => Promise<object>> {
  const { host, overlay, setOverlay, phase, signal } = context;
  const { edge, backend, server } = step;
  const { spec, declared } = serverOf(host, step);
  const to = (state: "drain" | "maint") => {
    setOverlay(withState(overlay, step, spec, state));
    return host.convergeEdge(edge);
  };
  // It was drained before by this very transaction.
  const isOut = host.working().backends[`${edge}/${backend}`]?.servers[server]?.state === "maint";
  return async () => {
    if (isOut) return {};
    phase("drain", `server ${server} of backend ${backend} on edge ${edge} drains`);
    await to("drain");
    const connections = await untilUnused(host, step, declared, signal);
    phase("drain", `server ${server} of backend ${backend} on edge ${edge} has ${connections} connections left`);
    // Idle connections to it are closed by this, and its health checks leave it alone while it restarts.
    await to("maint");
    return { connections };
  };
}

/**
 * After the death of whoever had taken a server out of the traffic: leads traffic away from it, again if it was back, and keeps
 * it so for a while in which its host, which nobody tells about this edge, puts back what was there.
 */
export async function keepOut(
  host: Host,
  step: Drain,
  overlay: Overlay,
  { setOverlay, signal }: { setOverlay: (overlay: Overlay) => void; signal: AbortSignal },
): Promise<void> {
  const { spec, declared } = serverOf(host, step);
  setOverlay(withState(overlay, step, spec, "maint"));
  await host.convergeEdge(step.edge);
  await untilUnused(host, step, declared, signal);
  await sleep(milliseconds(step.hold), undefined, { signal });
}

function withState(overlay: Overlay, { edge, backend, server }: Drain, spec: BackendSpec, state: ServerState): Overlay {
  const servers = { ...spec.servers, [server]: { ...(spec.servers[server] as Server), state } };
  return { ...overlay, backends: { ...overlay.backends, [`${edge}/${backend}`]: { ...spec, servers } } };
}

/** Waits until nothing uses a server, but not longer than the step's deadline. Gives the connections that are left. */
async function untilUnused(
  host: Host,
  { edge, deadline }: Drain,
  { address, port }: Server,
  signal: AbortSignal,
): Promise<number> {
  let connections = 0;
  const isUnused = async () => {
    const seen = await host.haproxy(edge).connections(address, port);
    connections = seen.connections;
    return connections === 0 && !seen.mayReceive;
  };
  await waitFor(isUnused, { everyMs: CHECK_MS, deadlineMs: milliseconds(deadline), signal });
  return connections;
}

/**
 * Gives a server back its traffic, and waits until the edge has it up and has got good answers from it: of requests that
 * come, or of those that this sends through the edge's own listener until one reaches it.
 */
export async function enableServer(context: StepContext, step: Enable): Promise<() => Promise<object>> {
  const { host, overlay, setOverlay, phase, signal } = context;
  const { edge, backend, server } = step;
  const { [`${edge}/${backend}`]: _drained, ...rest } = overlay.backends;
  phase("enable", `server ${server} of backend ${backend} on edge ${edge} takes requests again`);
  setOverlay({ ...overlay, backends: rest });
  return async () => {
    await host.convergeEdge(edge);
    const deadline = performance.now() + milliseconds(step.deadline);
    const late = (what: string) =>
      new ApiError(422, "not-through", `server ${server} of backend ${backend} on edge ${edge} ${what}`);
    let seen = await observed(host, step);
    for (; seen?.operational === "down"; seen = await observed(host, step)) {
      if (performance.now() >= deadline)
        throw late(`is not up within ${step.deadline}: HAProxy's check says ${seen.check}`);
      await sleep(CHECK_MS, undefined, { signal });
    }
    if (seen === undefined) throw late("is not known to HAProxy: see what the agent's events say of the edge");
    const { id } = seen;
    const before = await host.haproxy(edge).responseCounts(backend, id);
    let probed = "";
    for (;;) {
      const { good, bad } = await host.haproxy(edge).responseCounts(backend, id);
      if (good > before.good) break;
      if (performance.now() >= deadline)
        throw late(
          `gave no good answer through the edge within ${step.deadline} (${bad - before.bad} were errors; the last request to the edge, ${probed}): name a path and host in probe that lead to backend ${backend}, or see why it gets no requests`,
        );
      probed = await probeThrough(host.working(), edge, backend, step.probe, signal);
      await sleep(CHECK_MS, undefined, { signal });
    }
    phase("enable", `server ${server} of backend ${backend} on edge ${edge} answers well through the edge`);
    return { id };
  };
}

function serverOf(host: Host, { edge, backend, server }: Drain | Enable) {
  const spec = host.committed.backends[`${edge}/${backend}`];
  const declared = spec?.servers[server];
  if (spec === undefined || declared === undefined)
    throw new ApiError(409, "no-server", `server ${server} of backend ${backend} is not on edge ${edge} any more`);
  return { spec, declared };
}

/** A server as HAProxy has it now, with its name there. */
async function observed(
  host: Host,
  { edge, backend, server }: Drain | Enable,
): Promise<(ServerObservation & { id: string }) | undefined> {
  const { backends } = await host.haproxy(edge).observe();
  const found = Object.entries(backends[backend] ?? {}).find(
    ([, { name, leavingUntil }]) => name === server && leavingUntil === undefined,
  );
  return found === undefined ? undefined : { id: found[0], ...found[1] };
}

/** Problems of taking a server out of the traffic on this host now. */
export async function serverProblems(
  step: Drain | Enable,
  host: Host,
  { preview }: { preview: boolean },
): Promise<StepProblem[]> {
  const { edge, backend, server } = step;
  const { edges, backends } = host.working();
  const problem = (message: string): StepProblem[] => [{ path: "serves", message }];
  const known = Object.keys(backends).flatMap((key) =>
    key.startsWith(`${edge}/`) ? [key.slice(edge.length + 1)] : [],
  );
  const spec = host.committed.backends[`${edge}/${backend}`];
  // The same update may make them.
  if (preview && spec === undefined) return [];
  if (edges[edge] === undefined)
    return problem(`edge ${edge} is not on this agent (it has ${Object.keys(edges).join(", ") || "none"}): declare it`);
  if (spec === undefined)
    return problem(
      `backend ${backend} is not declared on edge ${edge} (it has ${known.join(", ") || "none"}): declare a Backend with server ${server}, and make this depend on it`,
    );
  const declared = spec.servers[server];
  if (declared === undefined)
    return preview
      ? []
      : problem(
          `backend ${backend} of edge ${edge} has no server ${server} (it has ${Object.keys(spec.servers).join(", ") || "none"}): declare it there`,
        );
  if (preview) return [];
  if (declared.state !== "ready")
    return problem(
      `server ${server} of backend ${backend} on edge ${edge} is declared in state ${declared.state}: declare it ready, or the edge will not lead there`,
    );
  if (!(await host.reconciler.isUp(edge)))
    return problem(`HAProxy of edge ${edge} does not run: see why in the agent's events, then try again`);
  return step.verb === "server.drain" && !step.last ? lastProblems(step, host, problem) : [];
}

/** A backend must keep somebody who answers. */
async function lastProblems(
  { edge, backend, server }: Drain,
  host: Host,
  problem: (message: string) => StepProblem[],
): Promise<StepProblem[]> {
  const { backends } = await host.haproxy(edge).observe();
  const takes = Object.values(backends[backend] ?? {}).filter(
    ({ state, operational, weight }) => state === "ready" && operational !== "down" && weight > 0,
  );
  const own = takes.some(({ name }) => name === server);
  if (!own || takes.some(({ name }) => name !== server)) return [];
  return problem(
    `server ${server} is the only one of backend ${backend} on edge ${edge} that takes requests: without it they would all be answered with 503; bring up another one first`,
  );
}
