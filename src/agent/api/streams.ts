import { eventQuery } from "../../model/protocol/event";
import { outputQuery } from "../../model/protocol/output";
import { step } from "../../model/protocol/transaction";
import { streamEvents } from "../operator/events";
import { streamOutput } from "../operator/output";
import { restartProcesses, restartRequest } from "../pools/supervise/restart-request";
import { ApiError } from "./api-error";
import { ANSWERED, type Call, parse, queryOf } from "./call";
import { errorBody } from "./errors";

export async function followEvents({ parts, request, response }: Call) {
  await streamEvents(parts.events, parse(eventQuery, queryOf(request)), response);
  return ANSWERED;
}

export async function output({ parts, params, request, response }: Call) {
  await streamOutput(parts.output, params[0] ?? "", parse(outputQuery, queryOf(request)), response);
  return ANSWERED;
}

/** Streams what happens while the step runs, then its result or error, one JSON line each. */
export async function runStep({ parts, params, body, response }: Call) {
  const id = params[0] ?? "";
  const { target } = parts.transactions.status(id);
  const request = parse(step, body);
  response.writeHead(200, { "content-type": "application/x-ndjson" });
  const pool = target.startsWith("pool/") ? target.slice("pool/".length) : undefined;
  const stop = parts.events.follow((event) => {
    if (event.data.transaction === id || (pool !== undefined && event.data.pool === pool))
      response.write(`${JSON.stringify({ event })}\n`);
  });
  try {
    response.end(`${JSON.stringify({ result: (await parts.transactions.step(id, request)) ?? {} })}\n`);
  } catch (error) {
    response.end(`${JSON.stringify({ error: errorBody(error, parts.events).error })}\n`);
  } finally {
    stop();
  }
  return ANSWERED;
}

/** Restarts processes of a pool, and streams what happens meanwhile, then the result or error, one JSON line each. */
export async function restart({ parts, params, body, response }: Call) {
  const pool = params[0] ?? "";
  const request = parse(restartRequest, body);
  const { host, transactions, events } = parts;
  if (host.working().pools[pool] === undefined)
    throw new ApiError(404, "not-found", `pool ${pool} is not on this agent: name one that it has`);
  const open = transactions.list().find(({ target }) => target === `pool/${pool}`);
  if (open !== undefined)
    throw new ApiError(
      409,
      "held",
      `pool ${pool} is held by a transaction of ${open.owner.who} since ${open.since}: restart it when that has ended`,
    );
  const gone = new AbortController();
  response.on("close", () => gone.abort());
  response.writeHead(200, { "content-type": "application/x-ndjson" });
  const stop = events.follow((event) => {
    if (event.data.pool === pool) response.write(`${JSON.stringify({ event })}\n`);
  });
  try {
    const result = await restartProcesses(host.supervisor, pool, request, gone.signal);
    response.end(`${JSON.stringify({ result })}\n`);
  } catch (error) {
    response.end(`${JSON.stringify({ error: errorBody(error, events).error })}\n`);
  } finally {
    stop();
  }
  return ANSWERED;
}
