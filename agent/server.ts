import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { z } from "zod";
import { eventQuery } from "../model/event";
import { notesRequest } from "../model/evidence/note";
import { evidenceQuery } from "../model/evidence/record";
import { issueMessage } from "../model/messages";
import { outputQuery } from "../model/output";
import { claimProblem, declarer } from "../model/ownership";
import { type SliAnswer, sliQuery } from "../model/sli";
import { openRequest, PROTOCOL, step, targetOf } from "../model/transaction";
import type { About, AgentStatus, EvidenceAnswer, NotObserved, PoolObservation } from "./api";
import { ApiError } from "./api-error";
import { compareStep } from "./compare";
import type { Events } from "./events";
import type { Evidence } from "./evidence/evidence";
import type { Host } from "./host";
import type { Meter } from "./meter/meter";
import { mirrorExposition } from "./mirror/exposition";
import type { Mirror } from "./mirror/mirror";
import { observeBackend, observeEdge, observePool, planStep } from "./observe";
import { type DoctorSource, examine } from "./operator/doctor";
import { streamEvents } from "./operator/events";
import { type OutputSource, streamOutput } from "./operator/output";
import { recover, unrecovered } from "./operator/recovery";
import { checkRelease, releaseRequest } from "./operator/release-check";
import { restartProcesses, restartRequest } from "./pools/restart-request";
import { observeRoute } from "./routes";
import { stepProblems } from "./step-problems";
import { tooLong } from "./too-long";
import { ABORT_PATIENCE_MS, type Transactions } from "./transactions";

/** Largest request body, in bytes. */
export const MAX_BODY = 1024 * 1024;

/** Time for a request's body, and for that of an artifact, in milliseconds. */
const BODY_MS = 30_000;
const UPLOAD_MS = 3_600_000;

export interface ServerParts {
  host: Host;
  transactions: Transactions;
  evidence: Evidence;
  meter: Meter;
  mirror: Mirror;
  events: Events;
  output: OutputSource;
  operator: DoctorSource;
  /** Facts about the agent itself. */
  about: () => About;
  /** Problems of the agent's state folder now. */
  folderProblems: () => Promise<string[]>;
  /** Reads the agent's options anew, and takes those that need no restart. */
  reload: () => Promise<object>;
  /** Ends the agent; with `restart`, its guard starts the version that is installed now. */
  shutdown: (restart: boolean) => void;
}

interface Call {
  parts: ServerParts;
  params: string[];
  body: unknown;
  request: IncomingMessage;
  response: ServerResponse;
}

type Handler = (call: Call) => Promise<unknown>;

/** Routes: method, path pattern, handler. A handler that answers by itself returns {@link ANSWERED}. */
const ANSWERED = Symbol("answered");
/** Without the one name that every object has and no resource may have. */
const NAME = "(?!constructor(?:/|$))([a-z][a-z0-9-]{0,39})";
const ID = "([0-9a-f-]{36})";
const DIGEST = "([0-9a-f]{64})";
const ROUTES: [method: string, path: RegExp, handler: Handler][] = [
  ["GET", /^\/v1\/about$/, async ({ parts }) => ({ agent: await aboutNow(parts) })],
  ["GET", /^\/v1\/status$/, status],
  ["GET", new RegExp(`^/v1/edges/${NAME}$`), ({ parts, params }) => observeEdge(parts.host, params[0] ?? "")],
  ["GET", new RegExp(`^/v1/pools/${NAME}$`), ({ parts, params }) => observePool(parts.host, params[0] ?? "")],
  [
    "GET",
    new RegExp(`^/v1/backends/${NAME}/${NAME}$`),
    ({ parts, params }) => observeBackend(parts.host, params[0] ?? "", params[1] ?? ""),
  ],
  ["GET", new RegExp(`^/v1/routes/${NAME}$`), ({ parts, params }) => observeRoute(parts.host, params[0] ?? "")],
  ["GET", new RegExp(`^/v1/routes/${NAME}/sample$`), sample],
  ["GET", /^\/v1\/mirror$/, ({ parts }) => parts.mirror.figures()],
  ["GET", /^\/v1\/events$/, followEvents],
  ["GET", /^\/v1\/processes\/([a-z0-9][a-z0-9.@_-]{0,119})\/output$/, output],
  ["GET", /^\/v1\/doctor$/, doctor],
  ["GET", /^\/v1\/recovery$/, async ({ parts }) => ({ items: await unrecovered(parts.operator.recovery) })],
  ["POST", /^\/v1\/recovery$/, async ({ parts }) => ({ items: await recover(parts.operator.recovery) })],
  ["POST", /^\/v1\/releases\/check$/, releaseCheck],
  ["GET", /^\/v1\/sli$/, sli],
  ["GET", /^\/v1\/meter$/, async ({ parts }) => parts.meter.status()],
  ["GET", /^\/v1\/metrics$/, metrics],
  ["POST", /^\/v1\/check$/, check],
  ["POST", /^\/v1\/compare$/, async ({ parts, body }) => compareStep(parts.host, parse(step, body))],
  ["POST", /^\/v1\/plan$/, async ({ parts, body }) => planStep(parts.host, parse(step, body))],
  ["POST", /^\/v1\/transactions$/, async ({ parts, body }) => parts.transactions.begin(parse(openRequest, body))],
  [
    "GET",
    new RegExp(`^/v1/transactions/${ID}$`),
    async ({ parts, params }) => parts.transactions.status(params[0] ?? ""),
  ],
  [
    "POST",
    new RegExp(`^/v1/transactions/${ID}/renew$`),
    async ({ parts, params }) => parts.transactions.renew(params[0] ?? ""),
  ],
  ["POST", new RegExp(`^/v1/transactions/${ID}/steps$`), runStep],
  [
    "POST",
    new RegExp(`^/v1/transactions/${ID}/commit$`),
    ({ parts, params }) => parts.transactions.commit(params[0] ?? ""),
  ],
  ["POST", new RegExp(`^/v1/transactions/${ID}/abort$`), abort],
  ["POST", new RegExp(`^/v1/transactions/${ID}/notes$`), takeNotes],
  [
    "GET",
    /^\/v1\/evidence$/,
    ({ parts, request }) => parts.evidence.list(parse(evidenceQuery, queryOf(request)).limit),
  ],
  ["GET", new RegExp(`^/v1/evidence/${ID}$`), oneEvidence],
  ["POST", new RegExp(`^/v1/pools/${NAME}/settle$`), settle],
  ["POST", new RegExp(`^/v1/pools/${NAME}/restart$`), restart],
  ["GET", new RegExp(`^/v1/artifacts/${DIGEST}$`), findArtifact],
  [
    "PUT",
    new RegExp(`^/v1/artifacts/${DIGEST}$`),
    async ({ parts, params, request }) => ({
      path: await parts.host.artifacts.receive(params[0] ?? "", request as AsyncIterable<Buffer>),
    }),
  ],
  ["POST", /^\/v1\/declarers$/, async ({ parts, body }) => parts.host.declare(parse(declarer, body))],
  ["POST", /^\/v1\/reload$/, async ({ parts }) => parts.reload()],
  ["POST", /^\/v1\/shutdown$/, shutdown],
];

/** The agent's HTTP API. Every answer is JSON; errors are `{error: {code, message, ...}}`. */
export function createApi(parts: ServerParts): Server {
  const server = createServer((request, response) => {
    answer(parts, request, response).catch((error: unknown) => fail(response, error, parts.events));
  });
  server.keepAliveTimeout = 60_000;
  // Of artifacts, which may be large; all other bodies have a time of their own.
  server.requestTimeout = UPLOAD_MS;
  server.maxHeadersCount = 50;
  server.on("clientError", refuse);
  return server;
}

/** Answers what is no HTTP request that can be read, in the form of all other errors. */
function refuse(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const [status, reason] = REFUSALS[error.code ?? ""] ?? ["400 Bad Request", "is not HTTP"];
  const body = JSON.stringify({ error: { code: "not-http", message: `the request ${reason}: ${error.message}` } });
  const head = [`HTTP/1.1 ${status}`, "content-type: application/json", `content-length: ${Buffer.byteLength(body)}`];
  socket.end([...head, "connection: close", "", body].join("\r\n"));
}

const REFUSALS: Record<string, [status: string, reason: string]> = {
  HPE_HEADER_OVERFLOW: ["431 Request Header Fields Too Large", "has too large headers"],
  ERR_HTTP_REQUEST_TIMEOUT: ["408 Request Timeout", "did not come in time"],
};

async function answer(parts: ServerParts, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = (request.url ?? "").split("?")[0] ?? "";
  const here = ROUTES.filter(([, pattern]) => pattern.test(path));
  const route = here.find(([method]) => method === request.method);
  if (route === undefined) {
    const known =
      here.length === 0 ? "is not part of the agent's API" : `takes ${here.map(([method]) => method).join(", ")}`;
    throw new ApiError(404, "unknown-route", `${request.method} ${path.slice(0, 200)} is refused: that path ${known}`);
  }
  checkProtocol(request, path, parts);
  const body = request.method === "POST" ? await readBody(request) : undefined;
  const params = route[1].exec(path)?.slice(1) ?? [];
  const result = await route[2]({ parts, params, body, request, response });
  if (result !== ANSWERED) send(response, 200, result ?? {});
}

/** A client of another protocol may ask who this is and replace the agent, nothing else. */
function checkProtocol(request: IncomingMessage, path: string, parts: ServerParts): void {
  const theirs = request.headers["sluice-protocol"];
  if (theirs === undefined || theirs === String(PROTOCOL) || path === "/v1/about" || path === "/v1/shutdown") return;
  throw new ApiError(
    409,
    "protocol",
    `the agent is version ${parts.about().version} and speaks protocol ${PROTOCOL}, but its client speaks ${String(theirs).slice(0, 20)}: update the host's Agent resource first (apps go on running)`,
  );
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  const late = setTimeout(() => request.destroy(new Error(`its body did not come within ${BODY_MS} ms`)), BODY_MS);
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > MAX_BODY)
        throw new ApiError(
          413,
          "too-large",
          `the request's body is larger than ${MAX_BODY} bytes: put what is large, such as long variables, into files of the release`,
        );
      chunks.push(chunk);
    }
  } finally {
    clearTimeout(late);
  }
  if (size === 0) return {};
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch (error) {
    throw new ApiError(400, "not-json", `the request's body is not JSON: ${(error as Error).message}`);
  }
}

function parse<T>(schema: z.ZodType<T>, body: unknown): T {
  const result = schema.safeParse(body, { error: issueMessage });
  if (result.success) return result.data;
  throw new ApiError(400, "invalid", z.prettifyError(result.error), {
    problems: result.error.issues.map(({ path, message }) => ({ path: path.join("."), message })),
  });
}

/** The agent with what is wrong with its state folder by now. */
async function aboutNow({ about, folderProblems }: ServerParts): Promise<About> {
  const { notes, ...rest } = about();
  return { ...rest, notes: [...notes, ...(await folderProblems())] };
}

async function status({ parts }: Call): Promise<AgentStatus> {
  const { host, transactions } = parts;
  const { edges, pools, backends, routes } = host.working();
  // A HAProxy that does not answer must not hide the others.
  const all = async <T>(names: string[], one: (name: string) => Promise<T>) => {
    const observe = names.map(async (name): Promise<[string, T | NotObserved]> => {
      const look = Promise.race([one(name), tooLong()]);
      return [name, await look.catch((error: unknown): NotObserved => ({ name, error: (error as Error).message }))];
    });
    return Object.fromEntries(await Promise.all(observe));
  };
  // All at once: together they must not take longer than one may.
  const [agent, edgeAnswers, poolAnswers, backendAnswers, routeAnswers] = await Promise.all([
    aboutNow(parts),
    all(Object.keys(edges), (name) => observeEdge(host, name)),
    all(Object.keys(pools), (name) => observePool(host, name)).then((answers) => withKnown(host, answers)),
    all(Object.keys(backends), (key) => {
      const [edge = "", name = ""] = key.split("/");
      return observeBackend(host, edge, name);
    }),
    all(Object.keys(routes), (name) => observeRoute(host, name)),
  ]);
  return {
    agent,
    edges: edgeAnswers,
    pools: poolAnswers,
    backends: backendAnswers,
    routes: routeAnswers,
    transactions: transactions.list(),
  };
}

/** A HAProxy that does not answer must not hide the processes either. */
async function withKnown(
  host: Host,
  answers: Record<string, PoolObservation | NotObserved>,
): Promise<AgentStatus["pools"]> {
  const entries = Object.entries(answers).map(
    async ([name, answer]): Promise<[string, AgentStatus["pools"][string]]> => {
      const known =
        "error" in answer ? await observePool(host, name, { blind: true }).catch(() => undefined) : undefined;
      return [name, known === undefined ? answer : { ...answer, known }];
    },
  );
  return Object.fromEntries(await Promise.all(entries));
}

async function check({ parts, body }: Call) {
  const { creator, now, ...rest } = parse(
    z.looseObject({ creator: z.string().optional(), now: z.boolean().default(false) }),
    body,
  );
  const wanted = parse(step, rest);
  const target = targetOf(wanted);
  const known = parts.host.committed.owners[target];
  const owned = creator === undefined ? undefined : claimProblem(target, known, { kind: "create", urn: creator });
  const problems = await stepProblems(wanted, parts.host, { preview: !now });
  return { problems: owned === undefined ? problems : [{ path: "name", message: owned }, ...problems] };
}

/** Measurements of the meter over a window. Not found where nothing records: that is not the same as no requests. */
async function sli({ parts, request }: Call): Promise<SliAnswer> {
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
async function metrics({ parts, response }: Call) {
  response.writeHead(200, { "content-type": "text/plain; version=0.0.4" });
  response.end(`${parts.meter.exposition()}${mirrorExposition((await parts.mirror.figures()).routes)}`);
  return ANSWERED;
}

/** The sample of a route, one request on each line, as `sluice parity --requests` reads it. */
async function sample({ parts, params, response }: Call) {
  const route = params[0] ?? "";
  const requests = await parts.mirror.sample(route);
  if (requests === undefined)
    throw new ApiError(404, "not-found", `route ${route} is not sampled on this agent: declare \`sample\` on it`);
  response.writeHead(200, { "content-type": "application/x-ndjson" });
  response.end(requests.map((request) => `${JSON.stringify(request)}\n`).join(""));
  return ANSWERED;
}

async function followEvents({ parts, request, response }: Call) {
  await streamEvents(parts.events, parse(eventQuery, queryOf(request)), response);
  return ANSWERED;
}

async function output({ parts, params, request, response }: Call) {
  await streamOutput(parts.output, params[0] ?? "", parse(outputQuery, queryOf(request)), response);
  return ANSWERED;
}

async function doctor({ parts }: Call) {
  return { now: new Date().toISOString(), checks: await examine(parts.operator) };
}

async function releaseCheck({ parts, body }: Call) {
  const checks = await checkRelease(parts.host, parse(releaseRequest, body));
  return { now: new Date().toISOString(), checks };
}

function queryOf(request: IncomingMessage): Record<string, string> {
  return Object.fromEntries(new URL(request.url ?? "", "http://agent").searchParams);
}

/** Streams what happens while the step runs, then its result or error, one JSON line each. */
async function runStep({ parts, params, body, response }: Call) {
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
async function restart({ parts, params, body, response }: Call) {
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

async function abort({ parts, params, body }: Call) {
  const request = z.object({
    reason: z.string().max(10_000).default("its holder gave it up"),
    waitMs: z.int().min(0).max(ABORT_PATIENCE_MS).default(ABORT_PATIENCE_MS),
  });
  const { reason, waitMs } = parse(request, body);
  return parts.transactions.abort(params[0] ?? "", reason, waitMs);
}

/** Takes what the deploying side knows of a transaction, for its evidence. */
async function takeNotes({ parts, params: [id = ""], body }: Call) {
  const { notes } = parse(notesRequest, body);
  parts.transactions.status(id);
  await parts.evidence.notes(id, notes);
  return {};
}

async function oneEvidence({ parts, params: [id = ""] }: Call): Promise<EvidenceAnswer> {
  const found = await parts.evidence.get(id);
  if (found !== undefined) return found;
  throw new ApiError(404, "not-found", `there is no evidence of transaction ${id} on this agent: list what there is`);
}

/** Answers once nothing of a pool that is not wanted runs any more. */
async function settle({ parts, params }: Call) {
  await parts.host.settled(params[0] ?? "");
  return {};
}

async function findArtifact({ parts, params }: Call) {
  const path = await parts.host.artifacts.find(params[0] ?? "");
  if (path === undefined) throw new ApiError(404, "not-found", "this agent does not have that artifact: send it first");
  return { path };
}

async function shutdown({ parts, body }: Call) {
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

function fail(response: ServerResponse, error: unknown, events: Events): void {
  const { status: code, error: body } = errorBody(error, events);
  if (response.headersSent) response.destroy();
  // The rest of a refused body is not read: the connection can't be used again.
  else send(response, code, { error: body }, { connection: "close" });
}

function errorBody(error: unknown, events: Events) {
  if (error instanceof ApiError)
    return { status: error.status, error: { code: error.code, message: error.message, ...error.data } };
  const message = error instanceof Error ? error.message : String(error);
  events.emit(`a request failed: ${message}`, { stack: error instanceof Error ? error.stack : undefined });
  return { status: 500, error: { code: "failed", message } };
}

function send(response: ServerResponse, code: number, body: unknown, headers: Record<string, string> = {}): void {
  const text = JSON.stringify(body);
  response.writeHead(code, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
    ...headers,
  });
  response.end(text);
}
