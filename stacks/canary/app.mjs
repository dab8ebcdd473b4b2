// A small web server that behaves as its release says, in the file release.json of the folder in which it runs:
//   {"id": "v1", "health": 200, "errors": 0.02}    status of its health check, and share of its other answers that are 500
//   node app.mjs PORT
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const { id, health = 200, errors = 0 } = JSON.parse(readFileSync("release.json", "utf8"));
const [, , port] = process.argv;
// Longer than HAProxy keeps a connection idle.
const server = createServer({ keepAliveTimeout: 75_000 }, (request, response) => {
  const status = request.url === "/healthz" ? health : Math.random() < errors ? 500 : 200;
  response.writeHead(status, { "content-type": "text/plain", "x-release": id }).end(`${id}\n`);
});
process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
server.listen(Number(port), "127.0.0.1", () => console.log(`${id} listens on port ${port}`));
