import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";

const EVENT_INTERVAL_MS = 50;

/** How a target deviates from what the load expects. */
export interface Misbehaviour {
  /** Sees every request first, with its number on its connection (1 is the first); true when it dealt with it. */
  request?: (request: IncomingMessage, response: ServerResponse, numberOnConnection: number) => boolean;
  /** Sees every WebSocket message first, with its number (0 is the first); true when it dealt with it. */
  message?: (socket: WebSocket, number: number) => boolean;
  /** Sees every event of a stream first, with its number; true when it dealt with it. */
  event?: (response: ServerResponse, number: number) => boolean;
  keepAliveTimeoutMs?: number;
}

export interface FakeTarget {
  port: number;
  /** Requests and upgrades that arrived, by path, without query. */
  seen: Map<string, number>;
  close(): Promise<void>;
}

/** A target in this process, that behaves unless told otherwise. */
export async function startTarget(misbehaviour: Misbehaviour = {}, port = 0): Promise<FakeTarget> {
  const seen = new Map<string, number>();
  const onConnection = new WeakMap<object, number>();
  const note = (request: IncomingMessage): URL => {
    const url = new URL(request.url ?? "/", "http://target");
    seen.set(url.pathname, (seen.get(url.pathname) ?? 0) + 1);
    return url;
  };
  const server = createServer((request, response) => {
    const url = note(request);
    const number = (onConnection.get(request.socket) ?? 0) + 1;
    onConnection.set(request.socket, number);
    response.setHeader("x-release", "fake");
    if (misbehaviour.request?.(request, response, number)) return;
    const seconds = Number(url.searchParams.get("seconds"));
    if (url.pathname === "/events") streamEvents(response, seconds, misbehaviour.event);
    else if (url.pathname === "/slow") setTimeout(() => response.end(JSON.stringify({ seconds })), seconds * 1000);
    else if (url.pathname === "/echo") request.pipe(response);
    else response.end("hello");
  });
  server.keepAliveTimeout = misbehaviour.keepAliveTimeoutMs ?? 60_000;
  const websockets = new WebSocketServer({ server, path: "/ws" });
  websockets.on("connection", (socket, request) => {
    note(request);
    let number = 0;
    socket.on("message", (data) => {
      if (!misbehaviour.message?.(socket, number++)) socket.send(JSON.stringify({ echo: data.toString() }));
    });
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    seen,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const client of websockets.clients) client.terminate();
        server.closeAllConnections();
      }),
  };
}

function streamEvents(response: ServerResponse, seconds: number, misbehave: Misbehaviour["event"]): void {
  const total = Math.round((seconds * 1000) / EVENT_INTERVAL_MS);
  let number = 0;
  response.writeHead(200, { "content-type": "text/event-stream" });
  const timer = setInterval(() => {
    const id = number++;
    if (misbehave?.(response, id)) return;
    if (id < total) {
      response.write(`id: ${id}\ndata: {}\n\n`);
    } else {
      clearInterval(timer);
      response.end(`event: done\nid: ${id}\ndata: {}\n\n`);
    }
  }, EVENT_INTERVAL_MS);
  response.on("close", () => clearInterval(timer));
}
