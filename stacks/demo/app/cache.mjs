/**
 * A service that all releases share: a key-value store over TCP, one command per line.
 *
 *   node cache.mjs --port 6400
 *
 * | line            | answer                      |
 * |-----------------|-----------------------------|
 * | PING            | PONG                        |
 * | SET key value   | OK                          |
 * | GET key         | VALUE value, or NONE        |
 */
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { log as logAs, readSettings } from "./settings.mjs";

const log = (text) => logAs("cache", text);
const values = new Map();
const clients = new Set();

function answer(line) {
  const [command, key, ...rest] = line.trim().split(" ");
  if (command === "PING") return "PONG";
  if (command === "SET" && key && rest.length > 0) {
    values.set(key, rest.join(" "));
    return "OK";
  }
  if (command === "GET" && key) return values.has(key) ? `VALUE ${values.get(key)}` : "NONE";
  return "ERROR use: PING, SET key value, GET key";
}

const server = createServer((socket) => {
  clients.add(socket);
  socket.on("close", () => clients.delete(socket));
  socket.on("error", (error) => log(`client: ${error.message}`));
  createInterface({ input: socket }).on("line", (line) => socket.write(`${answer(line)}\n`));
});

process.once("SIGTERM", () => {
  server.close(() => {
    log("stopped");
    process.exit(0);
  });
  for (const socket of clients) socket.destroySoon();
});

server.listen(readSettings().port, "127.0.0.1", () => {
  log(`listening on 127.0.0.1:${server.address().port}, pid ${process.pid}`);
});
