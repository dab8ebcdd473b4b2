import { shareIn } from "../model/pool-backend";
import { shared, withdrawn } from "../model/pool-promotion";
import type { PoolState } from "../model/pool-state";
import { formatSplit } from "../model/split";
import type { Step } from "../model/transaction";
import type { PoolShareAnswer } from "./api";
import type { Host } from "./host";
import { Problem } from "./problem";
import { shareOn } from "./routes";
import type { StepContext } from "./step-context";

/** Gives the release that is tried its share of the pool's requests. */
export async function sharePool(
  context: StepContext,
  { pool, share }: Extract<Step, { verb: "pool.share" }>,
): Promise<() => Promise<void>> {
  const state = context.host.working().pools[pool];
  if (state?.canary === undefined)
    throw new Problem(409, "no-canary", `pool ${pool} tries no release: start one with pool.start first`);
  const { generation, share: before } = state.canary;
  context.phase("switch", `pool ${pool}: ${formatSplit(share.split)} to release ${generation.release.id}`);
  return lead(context, pool, shared(state, share), share.split < (before?.split ?? 0));
}

/** Takes all requests off the release that is tried, which ends with the commit. */
export async function withdrawPool(
  context: StepContext,
  { pool, breach }: Extract<Step, { verb: "pool.withdraw" }>,
): Promise<() => Promise<void>> {
  const state = context.host.working().pools[pool];
  if (state?.canary === undefined) return async () => undefined;
  const why = breach === undefined ? "" : `, since ${breach}`;
  context.phase("switch", `pool ${pool}: release ${state.canary.generation.release.id} is withdrawn${why}`);
  return lead(
    context,
    pool,
    withdrawn(state, breach === undefined ? undefined : { why: breach, at: new Date() }),
    true,
  );
}

/** @param retreats whether the release that is tried only loses requests */
function lead({ host, overlay, setOverlay }: StepContext, pool: string, next: PoolState, retreats: boolean) {
  const { edge } = next.settings;
  setOverlay({ ...overlay, pools: { ...overlay.pools, [pool]: next } });
  return async () => {
    if (edge === undefined || host.working().edges[edge] === undefined) return;
    try {
      await host.convergeEdge(edge);
    } catch (error) {
      // An edge that does not run serves nobody; the agent goes on to start it, with the share that is wanted by then.
      if (!retreats || host.haproxy(edge).runs()) throw error;
    }
  };
}

/** The release that is tried, and its share as it is committed and as the edge's workers have it; nothing where there is none. */
export async function observeShare(host: Host, pool: string): Promise<PoolShareAnswer | undefined> {
  const state = host.working().pools[pool];
  if (state?.canary === undefined) return undefined;
  const { edge } = state.settings;
  const share = shareIn(pool, state);
  const committed = host.committed.pools[pool]?.canary;
  const same = committed?.generation.number === state.canary.generation.number ? committed : undefined;
  const observed =
    edge === undefined || host.working().edges[edge] === undefined ? undefined : await host.haproxy(edge).observe();
  return {
    release: state.canary.generation.release,
    generation: state.canary.generation.number,
    share: state.canary.share,
    committed: same?.share?.split ?? 0,
    since: same?.since === undefined ? undefined : Date.parse(same.since),
    now: shareOn(observed, share && { key: share.key, wanted: share.split }),
  };
}
