import { type SliAnswer, sliQuery } from "../../model/gate/sli";
import { mirrorExposition } from "../mirror/exposition";
import { ApiError } from "./api-error";
import { ANSWERED, type Call, parse, queryOf } from "./call";

/** Measurements of the meter over a window. Not found where nothing records: that is not the same as no requests. */
export async function sli({ parts, request }: Call): Promise<SliAnswer> {
  const query = parse(sliQuery, queryOf(request));
  const edge = parts.host.working().edges[query.edge];
  if (edge === undefined)
    throw new ApiError(404, "not-found", `this agent has no edge ${query.edge}: name one that it has`);
  if (!edge.meter)
    throw new ApiError(
      404,
      "no-meter",
      `edge ${query.edge} is not metered: leave out "meter: false" where it is declared`,
    );
  return { ...parts.meter.query(query), now: Date.now() };
}

/** For Prometheus, in its text format. */
export async function metrics({ parts, response }: Call) {
  response.writeHead(200, { "content-type": "text/plain; version=0.0.4" });
  response.end(`${parts.meter.exposition()}${mirrorExposition((await parts.mirror.figures()).routes)}`);
  return ANSWERED;
}

/** The sample of a route, one request on each line, as `sluice parity --requests` reads it. */
export async function sample({ parts, params, response }: Call) {
  const route = params[0] ?? "";
  const requests = await parts.mirror.sample(route);
  if (requests === undefined)
    throw new ApiError(404, "not-found", `route ${route} is not sampled on this agent: declare \`sample\` on it`);
  response.writeHead(200, { "content-type": "application/x-ndjson" });
  response.end(requests.map((request) => `${JSON.stringify(request)}\n`).join(""));
  return ANSWERED;
}
