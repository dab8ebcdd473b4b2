// A shadow that takes its time: PORT MILLISECONDS.
import { createServer } from "node:http";

const [port, ms] = process.argv.slice(2).map(Number);
createServer((request, response) => {
  request.resume();
  setTimeout(() => response.end("dark"), ms);
}).listen(port, "127.0.0.1");
