import { isDeepStrictEqual } from "node:util";
import type { Runnable } from "../../model/pool/pool-generation";
import type { Instance } from "../../model/pool/pool-instances";
import { begin, followed, newPool, switched } from "../../model/pool/pool-promotion";
import type { PoolState, SpecWithoutSecrets } from "../../model/pool/pool-state";
import { downLines } from "../../model/pool/promotion-plan";
import { type Step, targetOf } from "../../model/protocol/transaction";
import { ApiError } from "../api/api-error";
import { PortAllocator } from "../pools/launch/ports";
import type { Overlay } from "../state/desired";
import { sharePool, withdrawPool } from "./pool-share";
import { setRoute } from "./routes";
import { drainServer, enableServer } from "./servers";
import type { BackendStep, StepContext } from "./step-context";
import { assertPossible } from "./step-problems";
import { taking } from "./taking";

/** Runs one step of a transaction: changes its overlay, then drives reality to the working state. */
export async function runStep(step: Step, context: StepContext): Promise<unknown> {
  const wanted = targetOf(step);
  if (wanted !== context.target)
    throw new ApiError(
      400,
      "wrong-target",
      `${step.verb} changes ${wanted}, but the transaction is on ${context.target}`,
    );
  if (step.verb === "backend.set" || step.verb === "backend.remove") return changeBackend(context, step);
  const drive = await context.host.reserving(() => plan(step, context));
  return drive();
}

/** Checks a step and takes what it needs (names, addresses, ports) by its overlay; what it returns drives reality there. */
async function plan(step: Exclude<Step, BackendStep>, context: StepContext): Promise<() => Promise<unknown>> {
  context.signal.throwIfAborted();
  await assertPossible(step, context.host);
  context.signal.throwIfAborted();
  switch (step.verb) {
    case "edge.set":
      return setEdge(context, step.edge, step.spec);
    case "edge.remove":
      return setEdge(context, step.edge, null);
    case "server.drain":
      return drainServer(context, step);
    case "server.enable":
      return enableServer(context, step);
    case "pool.start":
      return startPool(context, step);
    case "pool.switch":
      return switchPool(context, step.pool);
    case "pool.follow":
      return followPool(context, step.pool);
    case "pool.share":
      return sharePool(context, step);
    case "pool.withdraw":
      return withdrawPool(context, step);
    case "pool.remove":
      return removePool(context, step.pool);
    case "route.set":
      return setRoute(context, step.route, step.spec);
    case "route.remove":
      return setRoute(context, step.route, null);
  }
}

async function setEdge(context: StepContext, edge: string, spec: Overlay["edges"][string]) {
  const { host, overlay, setOverlay, phase } = context;
  phase("switch", spec === null ? `edge ${edge} stops` : `edge ${edge} takes its config`);
  setOverlay({ ...overlay, edges: { ...overlay.edges, [edge]: spec } });
  return () => host.convergeEdge(edge, taking(context, { again: true }));
}

function changeBackend(context: StepContext, step: BackendStep): Promise<void> {
  context.phase("switch", `backend ${step.backend} of edge ${step.edge} changes`);
  return context.changeBackend(step);
}

async function startPool(context: StepContext, step: Extract<Step, { verb: "pool.start" }>) {
  const { pool, spec, secrets: names, canary } = step;
  const { host, secrets, overlay, setOverlay, phase } = context;
  for (const release of [spec.release, ...(canary === undefined ? [] : [canary.release])])
    await host.retainedReleases.restore(pool, host.committed.pools[pool], release);
  for (const line of await host.changedReleases(step)) phase("start", line);
  const split = secrets.split(spec, names);
  const declaredCandidate = canary && secrets.split(canary, canary.secrets);
  const beside = canary &&
    declaredCandidate && { release: canary.release, processes: declaredCandidate.spec.processes };
  const asked = overlay.pools[pool];
  // Asked for twice, as by a holder that lost the answer.
  if (asked?.next !== undefined && isSame(asked, split.spec, beside)) return starting(context, pool, asked);
  const committed = host.committed.pools[pool];
  // A share that was taken back before is not given again.
  const base = (asked?.next === undefined ? asked : committed) ?? committed ?? newPool(split.spec);
  const inPlace = spec.strategy === "in-place";
  const ports = await PortAllocator.of(pool, split.spec, beside, host.working(), host.supervisor.heldPorts());
  const allocate = (key: string, generation: number) =>
    host.supervisor.portOf({ pool, key, generation }) ?? ports.next();
  const down = host.supervisor.downServices(pool);
  const begun = begin(base, split.spec, allocate, {
    above: host.supervisor.newestGeneration(pool),
    candidate: beside,
    down: new Set(down.map(({ process }) => process)),
  });
  // In place there is no moment at which both run: everything follows at once.
  const state = inPlace ? followed(switched(begun)) : begun;
  const { next } = state;
  if (next === undefined) throw new Error(`pool ${pool} has no candidate after its start`);
  await secrets.store(pool, next.number, split.values);
  if (state.candidate !== undefined && state.candidate.generation.number !== next.number)
    await secrets.store(pool, state.candidate.generation.number, declaredCandidate?.values ?? {});
  phase("start", `release ${spec.release.id} of pool ${pool} starts`);
  for (const line of downLines(down, spec, pool)) phase("start", line);
  setOverlay({ ...overlay, pools: { ...overlay.pools, [pool]: state } });
  return starting(context, pool, state);
}

function isSame(
  { settings, next, candidate }: PoolState,
  spec: SpecWithoutSecrets,
  candidateBefore: Runnable | undefined,
): boolean {
  const { release, processes } = candidate?.generation ?? {};
  return (
    isDeepStrictEqual({ ...settings, release: next?.release, processes: next?.processes }, spec) &&
    (candidateBefore === undefined || isDeepStrictEqual({ release, processes }, candidateBefore))
  );
}

function starting(context: StepContext, pool: string, { next, candidate, settings }: PoolState) {
  const { host, phase, signal } = context;
  // Side by side, the existing processes go on until the singletons follow.
  const take = settings.strategy === "in-place" ? { take: taking(context, { again: true }) } : {};
  const before = host.committed.pools[pool]?.candidate?.generation.number;
  const promoted = candidate?.generation.number === before ? undefined : candidate?.generation;
  const releases = [next, promoted].flatMap((side) => side?.release.id ?? []);
  // A candidate that runs already may be the very reason for a change.
  const strict = ({ generation }: Instance) => [next?.number, promoted?.number].includes(generation);
  return async () => {
    await host.convergePool(pool, { strict, signal, ...take });
    phase("healthy", `release ${releases.join(" and ")} of pool ${pool} is healthy`);
    return { generation: next?.number };
  };
}

async function switchPool(context: StepContext, pool: string) {
  const { host, overlay, setOverlay, phase } = context;
  const state = inTransaction(overlay, pool);
  const { edge } = state.settings;
  if (edge === undefined)
    throw new ApiError(409, "in-place", `pool ${pool} is in place: its release serves as soon as it has started`);
  if (host.working().edges[edge] === undefined)
    throw new ApiError(409, "no-edge", `edge ${edge} of pool ${pool} is not on this agent any more: declare it first`);
  phase("switch", `traffic of pool ${pool} moves to release ${state.next?.release.id}`);
  setOverlay({ ...overlay, pools: { ...overlay.pools, [pool]: switched(state) } });
  return () => host.convergeEdge(edge, taking(context, { again: false }));
}

async function followPool(context: StepContext, pool: string) {
  const { host, overlay, setOverlay, phase, signal } = context;
  const state = inTransaction(overlay, pool);
  const strict = isOf(state.next?.number);
  const take = taking(context, { again: true });
  return async () => {
    // A release that has not stayed up must not cost the old one's singletons a restart.
    await host.convergePool(pool, { strict, signal });
    phase("follow", `services and singletons of pool ${pool} follow release ${state.next?.release.id}`);
    setOverlay({ ...overlay, pools: { ...overlay.pools, [pool]: followed(state) } });
    await host.convergePool(pool, { strict, signal, take });
  };
}

/** A promotion depends on its own release only: one that replaces a broken release must not fail with that. */
function isOf(number: number | undefined) {
  return (instance: Instance) => instance.generation === number;
}

/** Takes the pool's backend off its edge; its processes run on until the commit, and then drain and stop. */
async function removePool({ host, overlay, setOverlay, phase }: StepContext, pool: string) {
  const state = host.working().pools[pool];
  if (state === undefined) return async () => undefined;
  const { edge } = state.settings;
  phase("switch", edge === undefined ? `pool ${pool} ends` : `pool ${pool} leaves edge ${edge}`);
  setOverlay({ ...overlay, pools: { ...overlay.pools, [pool]: null } });
  return async () => {
    if (edge !== undefined && host.working().edges[edge] !== undefined) await host.convergeEdge(edge);
  };
}

function inTransaction(overlay: Overlay, pool: string) {
  const state = overlay.pools[pool];
  if (state === undefined || state === null || state.next === undefined)
    throw new ApiError(409, "not-started", `pool ${pool} has no candidate in this transaction: run pool.start first`);
  return state;
}
