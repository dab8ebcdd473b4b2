import { shareIn } from "../../model/pool/pool-backend";
import { shared, withdrawn } from "../../model/pool/pool-promotion";
import type { PoolState } from "../../model/pool/pool-state";
import type { Step } from "../../model/protocol/transaction";
import { formatSplit } from "../../model/route/split";
import type { PoolShareAnswer } from "../api/answers";
import { ApiError } from "../api/api-error";
import type { Host } from "../host/host";
import { shareOn } from "./routes";
import type { StepContext } from "./step-context";

/** Gives the candidate its share of the pool's requests. */
export async function sharePool(
  context: StepContext,
  { pool, share }: Extract<Step, { verb: "pool.share" }>,
): Promise<() => Promise<void>> {
  const state = context.host.working().pools[pool];
  if (state?.candidate === undefined)
    throw new ApiError(409, "no-candidate", `pool ${pool} has no candidate: start one with pool.start first`);
  const { generation, share: before } = state.candidate;
  context.phase("switch", `pool ${pool}: ${formatSplit(share.split)} to release ${generation.release.id}`);
  return applyShare(context, pool, shared(state, share), share.split < (before?.split ?? 0));
}

/** Takes all requests off the candidate, which ends with the commit. */
export async function withdrawPool(
  context: StepContext,
  { pool, breach }: Extract<Step, { verb: "pool.withdraw" }>,
): Promise<() => Promise<void>> {
  const state = context.host.working().pools[pool];
  if (state?.candidate === undefined) return async () => undefined;
  const why = breach === undefined ? "" : `, since ${breach}`;
  context.phase("switch", `pool ${pool}: release ${state.candidate.generation.release.id} is withdrawn${why}`);
  return applyShare(
    context,
    pool,
    withdrawn(state, breach === undefined ? undefined : { why: breach, at: new Date() }),
    true,
  );
}

/** @param onlyReduces whether the candidate only loses requests */
function applyShare({ host, overlay, setOverlay }: StepContext, pool: string, next: PoolState, onlyReduces: boolean) {
  const { edge } = next.settings;
  setOverlay({ ...overlay, pools: { ...overlay.pools, [pool]: next } });
  return async () => {
    if (edge === undefined || host.working().edges[edge] === undefined) return;
    try {
      await host.convergeEdge(edge);
    } catch (error) {
      // An edge that does not run serves nobody; the agent goes on to start it, with the share that is wanted by then.
      if (!onlyReduces || host.haproxy(edge).runs()) throw error;
    }
  };
}

/** The candidate, and its share as it is committed and as the edge's workers have it; undefined if there is none. */
export async function observeShare(host: Host, pool: string): Promise<PoolShareAnswer | undefined> {
  const state = host.working().pools[pool];
  if (state?.candidate === undefined) return undefined;
  const { edge } = state.settings;
  const share = shareIn(pool, state);
  const committed = host.committed.pools[pool]?.candidate;
  const same = committed?.generation.number === state.candidate.generation.number ? committed : undefined;
  const observed =
    edge === undefined || host.working().edges[edge] === undefined ? undefined : await host.haproxy(edge).observe();
  return {
    release: state.candidate.generation.release,
    generation: state.candidate.generation.number,
    share: state.candidate.share,
    committed: same?.share?.split ?? 0,
    since: same?.since === undefined ? undefined : Date.parse(same.since),
    now: shareOn(observed, share && { key: share.key, wanted: share.split }),
  };
}
