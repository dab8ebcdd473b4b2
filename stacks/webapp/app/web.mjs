/**
 * The web server. Every HTTP answer carries the header `x-release`.
 *
 *   SLUICE_PORT=18301 BROKER_PORT=18321 node web.mjs
 *
 * | request              | answer                                                        |
 * |----------------------|---------------------------------------------------------------|
 * | GET /                | the release, and who asked, by the forwarded headers          |
 * | GET /healthz         | 200, or 503 where the release is not healthy                  |
 * | POST /jobs?seconds=2 | 202 {id}: a background job                                    |
 * | GET /jobs, /jobs/ID  | what the broker knows                                         |
 * | WebSocket /live      | {release, echo} for each message, {release, jobs} each second |
 */
import { createServer } from "node:http";
import { WebSocketServer } from "ws";
import { broker, log, releaseOf, required } from "./common.mjs";

const PUSH_MS = 1_000;
/** Close code that tells a WebSocket's client to connect again (IANA's registry of WebSocket close codes). */
const SERVICE_RESTART = 1012;
const SPREAD_MS = 3_000;
/** Longer than HAProxy keeps a connection idle, so that it never races with our close. */
const KEEP_ALIVE_MS = 90_000;
const MAX_JOB_SECONDS = 20;
const { id: release, healthy } = releaseOf();

async function answer(request) {
  const { pathname, searchParams } = new URL(request.url, "http://web");
  if (request.method === "GET" && pathname === "/healthz") return { status: healthy ? 200 : 503, body: { release } };
  if (request.method === "GET" && pathname === "/") return { status: 200, body: { release, ...whoAsked(request) } };
  if (request.method === "GET" && /^\/jobs(\/\d+)?$/.test(pathname)) return broker("GET", pathname);
  if (request.method === "POST" && pathname === "/jobs") {
    const seconds = Number(searchParams.get("seconds") ?? 1);
    if (!(seconds >= 0 && seconds <= MAX_JOB_SECONDS))
      return { status: 400, body: { error: `seconds must be a number from 0 to ${MAX_JOB_SECONDS}` } };
    const { body } = await broker("POST", "/jobs", { seconds });
    return { status: 202, body };
  }
  return { status: 404, body: { error: `no such page: ${request.method} ${pathname}` } };
}

/** Behind nginx and the edge: nginx writes the client's address, the edge appends nginx's. */
function whoAsked({ headers }) {
  const [client] = String(headers["x-forwarded-for"] ?? "").split(",");
  return { client: client.trim(), scheme: headers["x-forwarded-proto"], requestId: headers["x-request-id"] };
}

const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, async (request, response) => {
  request.resume();
  const { status, body } = await answer(request).catch((error) => {
    log(`error: ${error.cause?.message ?? error.message}`);
    return { status: 503, body: { error: "the broker does not answer" } };
  });
  response.writeHead(status, { "content-type": "application/json", "x-release": release });
  response.end(`${JSON.stringify(body)}\n`);
});

const live = new WebSocketServer({ server, path: "/live" });
live.on("connection", (socket) => {
  socket.on("message", (data) => socket.send(JSON.stringify({ release, echo: data.toString() })));
  socket.on("error", (error) => log(`websocket: ${error.message}`));
});
const pushing = setInterval(async () => {
  if (live.clients.size === 0) return;
  const { body: jobs } = await broker("GET", "/jobs").catch((error) => ({ body: { error: error.message } }));
  for (const socket of live.clients) socket.send(JSON.stringify({ release, jobs }));
}, PUSH_MS);

// The quiet command: the edge sends no more requests here. WebSockets would stay until drainDeadline and then be cut;
// told to, their clients connect again at once, to the release that serves. Not all at the same moment.
process.once("SIGUSR2", () => {
  log(`SIGUSR2: ${live.clients.size} WebSockets are asked to connect again`);
  for (const socket of live.clients)
    setTimeout(() => socket.close(SERVICE_RESTART, "connect again"), Math.random() * SPREAD_MS);
});
process.once("SIGTERM", () => {
  clearInterval(pushing);
  for (const socket of live.clients) socket.close(SERVICE_RESTART, "connect again");
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
server.listen(Number(required("SLUICE_PORT")), "127.0.0.1", () => log(`${release} listens`));
