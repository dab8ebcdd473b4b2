// A read-serving system to try the cutover with: node stacks/cutover/system.mjs <port> <name>
import { createServer } from "node:http";

const [port, name] = process.argv.slice(2);

createServer((request, response) => {
  const page = Number(new URL(request.url, "http://here").searchParams.get("page") ?? 1);
  const data = [1, 2, 3].map((row) => ({ id: page * 10 + row }));
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ data, by: name }));
}).listen(Number(port), "127.0.0.1");
