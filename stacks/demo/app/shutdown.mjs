import { Server as NetServer } from "node:net";

/** Idle connections stay open this long after SIGTERM, so that a request already on its way is still answered. */
const LINGER_MS = 1000;

/**
 * Makes an HTTP server stop on SIGTERM without dropping anybody:
 *
 * 1. no new connections; every answer from now on says `Connection: close`;
 * 2. requests in flight, event streams and WebSockets go on until they end by themselves;
 * 3. idle keep-alive connections are closed after a second, busy ones after their answer;
 * 4. what is left after `graceMs` is closed; then the process exits with 0.
 */
export function stopOnSigterm(server, websockets, graceMs, log) {
  let stopping = false;
  /** Connection -> requests in flight on it (a WebSocket counts as one that never ends). */
  const open = new Map();

  server.on("connection", (socket) => {
    open.set(socket, 0);
    socket.on("close", () => open.delete(socket));
  });
  server.on("upgrade", (_request, socket) => open.set(socket, 1));
  server.prependListener("request", (request, response) => {
    const { socket } = request;
    open.set(socket, open.get(socket) + 1);
    if (stopping) response.setHeader("Connection", "close");
    response.on("close", () => {
      if (!open.has(socket)) return;
      open.set(socket, open.get(socket) - 1);
      if (stopping) closeIfIdle(socket);
    });
  });

  function closeIfIdle(socket) {
    if (open.get(socket) === 0) socket.end();
  }

  process.once("SIGTERM", () => {
    stopping = true;
    log(`SIGTERM: finishing what is open on ${open.size} connections`);
    // http.Server's own close() would also close idle connections at once, under a request that is on its way.
    NetServer.prototype.close.call(server, () => {
      log("stopped");
      process.exit(0);
    });
    setTimeout(() => {
      for (const socket of open.keys()) closeIfIdle(socket);
    }, LINGER_MS);
    setTimeout(() => {
      log(`grace is over: closing ${open.size} connections`);
      for (const client of websockets.clients) client.close(1001, "server is stopping");
      setTimeout(() => {
        for (const socket of open.keys()) socket.destroy();
      }, 200);
    }, graceMs);
  });
}
