import { z } from "zod";
import { ApiError } from "./api-error";
import { type Call, parse } from "./call";

/** Answers once nothing of a pool that is not wanted runs any more. */
export async function settle({ parts, params }: Call) {
  await parts.host.settled(params[0] ?? "");
  return {};
}

export async function findArtifact({ parts, params }: Call) {
  const path = await parts.host.artifacts.find(params[0] ?? "");
  if (path === undefined) throw new ApiError(404, "not-found", "this agent does not have that artifact: send it first");
  return { path };
}

export async function shutdown({ parts, body }: Call) {
  const { restart } = parse(z.object({ restart: z.boolean().default(false) }), body);
  const open = parts.transactions.list()[0];
  if (open !== undefined)
    throw new ApiError(
      409,
      "held",
      `the agent has an open transaction on ${open.target} of ${open.owner.who} since ${open.since}: wait for it`,
    );
  setImmediate(() => parts.shutdown(restart));
  return {};
}
