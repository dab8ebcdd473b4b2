/**
 * The demo's web app. Every release runs this source; its `release.json` says what it is (see settings.mjs).
 *
 *   node server.mjs --port 8080 --release ../releases/v1
 *
 * | request                         | answer                                                            |
 * |---------------------------------|-------------------------------------------------------------------|
 * | GET /                           | JSON: version, pid, count of requests so far                      |
 * | GET /healthz                    | 200, or 503 with the reason when the release is not healthy       |
 * | GET /slow?seconds=3&head=early  | JSON after that time; its head at once (early) or with it (late)  |
 * | GET /events?seconds=3           | server-sent events, one each 200 ms, the last one named `done`    |
 * | POST /echo                      | the request's body                                                |
 * | WebSocket /ws                   | JSON {version, echo} for each message                             |
 *
 * Every HTTP answer carries the release's version in the header `x-release`.
 */
import { createServer } from "node:http";
import { WebSocketServer } from "ws";
import { log as logAs, readRelease, readSettings } from "./settings.mjs";
import { stopOnSigterm } from "./shutdown.mjs";

const EVENT_INTERVAL_MS = 200;
const MAX_SECONDS = 60;
/** Longer than any proxy in front keeps a connection idle, so that the proxy closes it first and never races with us. */
const KEEP_ALIVE_MS = 75_000;

const settings = readSettings();
const release = readRelease(settings.releasePath);
const log = (text) => logAs(`web ${release.version}`, text);
let count = 0;

const routes = {
  "GET /": home,
  "GET /healthz": health,
  "GET /slow": slow,
  "GET /events": events,
  "POST /echo": echo,
};

function home(_request, response) {
  json(response, 200, { version: release.version, pid: process.pid, count });
}

function health(_request, response) {
  if (release.healthy) return json(response, 200, { status: "ok", version: release.version });
  log(`error: health check fails: ${release.reason}`);
  json(response, 503, { status: "unhealthy", version: release.version, reason: release.reason });
}

function slow(_request, response, url) {
  const seconds = secondsOf(url);
  if (seconds === undefined) return badSeconds(response);
  if (url.searchParams.get("head") !== "late") {
    response.writeHead(200, { "content-type": "application/json" });
    response.write("\n");
  }
  setTimeout(() => response.end(JSON.stringify({ version: release.version, seconds })), seconds * 1000);
}

function events(_request, response, url) {
  const seconds = secondsOf(url);
  if (seconds === undefined) return badSeconds(response);
  const total = Math.round((seconds * 1000) / EVENT_INTERVAL_MS);
  let sequence = 0;
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
  response.flushHeaders();
  const timer = setInterval(() => {
    if (sequence < total) {
      response.write(`id: ${sequence}\ndata: ${JSON.stringify({ version: release.version, sequence })}\n\n`);
      sequence++;
    } else {
      clearInterval(timer);
      response.end(`event: done\nid: ${sequence}\ndata: {}\n\n`);
    }
  }, EVENT_INTERVAL_MS);
  response.on("close", () => clearInterval(timer));
}

function echo(request, response) {
  response.writeHead(200, { "content-type": request.headers["content-type"] ?? "application/octet-stream" });
  request.pipe(response);
}

function json(response, status, value) {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(`${JSON.stringify(value)}\n`);
}

function secondsOf(url) {
  const seconds = Number(url.searchParams.get("seconds") ?? "3");
  return seconds >= 0 && seconds <= MAX_SECONDS ? seconds : undefined;
}

function badSeconds(response) {
  json(response, 400, { error: `seconds must be a number from 0 to ${MAX_SECONDS}` });
}

const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (request, response) => {
  count++;
  response.setHeader("x-release", release.version);
  if (!URL.canParse(request.url, "http://app")) return json(response, 400, { error: "no such address" });
  const url = new URL(request.url, "http://app");
  const route = routes[`${request.method} ${url.pathname}`];
  if (route) route(request, response, url);
  else json(response, 404, { error: `no such page: ${request.method} ${url.pathname}` });
});

const websockets = new WebSocketServer({ server, path: "/ws" });
websockets.on("connection", (socket) => {
  socket.on("message", (data) => socket.send(JSON.stringify({ version: release.version, echo: data.toString() })));
  socket.on("error", (error) => log(`websocket: ${error.message}`));
});

stopOnSigterm(server, websockets, settings.graceMs, log);
server.listen(settings.port, "127.0.0.1", () => {
  log(`listening on 127.0.0.1:${server.address().port}, pid ${process.pid}`);
  if (!release.healthy) log(`error: not ready to serve: ${release.reason}`);
});
