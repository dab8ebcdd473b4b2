import type { TestContext } from "node:test";
import { dataBy, serve } from "./servers";
import { bench } from "./sluice";

/** Path of one query on the upstream. */
export const OURS = "/api/v1/query_objects/prod/chess/scores";
/** Path of the same query on the candidate. */
export const THEIRS = "/v2/chess/scores";

/** Two servers that answer one query with the data given. */
export async function between(t: TestContext, ours: unknown, theirs: unknown) {
  const upstream = await serve(t, dataBy({ [OURS]: ours }));
  const candidate = await serve(t, dataBy({ [THEIRS]: theirs }));
  return { upstream, candidate, ...(await bench(t, upstream, candidate)) };
}
