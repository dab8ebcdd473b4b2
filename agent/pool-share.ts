import type { PoolShare } from "../model/pool-share";
import { shared, shareIn } from "../model/pool-state";
import { formatSplit } from "../model/split";
import type { PoolShareAnswer } from "./api";
import type { Host } from "./host";
import { Problem } from "./problem";
import { shareOn } from "./routes";
import type { StepContext } from "./steps";

/** Gives the release that is tried its share of the pool's requests, or takes it. */
export async function sharePool(
  { host, overlay, setOverlay, phase }: StepContext,
  pool: string,
  share: PoolShare | null,
): Promise<() => Promise<void>> {
  const state = host.working().pools[pool];
  if (state?.canary === undefined) {
    if (share === null) return async () => undefined;
    throw new Problem(409, "no-canary", `pool ${pool} tries no release: start one with pool.start first`);
  }
  const { edge } = state.settings;
  const before = state.canary.share;
  const next = shared(state, share ?? undefined);
  const release = state.canary.generation.release.id;
  phase("switch", `pool ${pool}: ${formatSplit(share?.split ?? 0)} to release ${release}`);
  setOverlay({ ...overlay, pools: { ...overlay.pools, [pool]: next } });
  return async () => {
    if (edge === undefined || host.working().edges[edge] === undefined) return;
    try {
      await host.convergeEdge(edge);
    } catch (error) {
      // An edge that does not run serves nobody; the agent goes on to start it, with the share that is wanted by then.
      const retreats = (share?.split ?? 0) < (before?.split ?? 0);
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
