// The app that is promoted: as small as it gets, so that the switch is what is measured.
//   node app.mjs PORT RELEASE
import { createServer } from "node:http";

const [port, release] = process.argv.slice(2);
// Longer than any proxy in front keeps a connection idle, so that the proxy closes it first.
const server = createServer({ keepAliveTimeout: 75_000 }, (_request, response) => {
  response.writeHead(200, { "content-type": "text/plain", "x-release": release });
  response.end("ok\n");
});
server.listen(Number(port), "127.0.0.1");
process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
