// A reverse proxy in Node.js with http-proxy, as its documentation shows it, with the headers that tell the server who
// asked, and a request id. With KEEP_ALIVE=1 its connections to the server are kept, which few projects know to ask for.
import { randomUUID } from "node:crypto";
import { Agent, createServer } from "node:http";
import httpProxy from "http-proxy";

const { PORT, UPSTREAM, KEEP_ALIVE } = process.env;
const proxy = httpProxy.createProxyServer({
  target: `http://127.0.0.1:${UPSTREAM}`,
  xfwd: true,
  ...(KEEP_ALIVE === "1" ? { agent: new Agent({ keepAlive: true }) } : {}),
});
proxy.on("error", (error, _request, response) => {
  response.writeHead(502, { "content-type": "text/plain" });
  response.end(error.message);
});
createServer((request, response) => {
  request.headers["x-request-id"] ??= randomUUID();
  proxy.web(request, response);
}).listen(Number(PORT), "127.0.0.1");
