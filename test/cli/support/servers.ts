import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";

interface SeenRequest {
  method: string;
  url: string;
  headers: IncomingMessage["headers"];
  body: string;
}

export interface TestServer {
  url: string;
  seen: SeenRequest[];
  /** TCP connections that were made to it. */
  connections(): number;
}

export type Answering = (request: SeenRequest, response: ServerResponse) => void;

/** A real HTTP server on a port of its own, closed after the test. */
export async function serve(t: TestContext, answer: Answering): Promise<TestServer> {
  const seen: SeenRequest[] = [];
  let connections = 0;
  const server = createServer((incoming, response) => {
    let body = "";
    incoming.setEncoding("utf8").on("data", (chunk: string) => {
      body += chunk;
    });
    incoming.on("end", () => {
      const request = { method: incoming.method ?? "", url: incoming.url ?? "", headers: incoming.headers, body };
      seen.push(request);
      answer(request, response);
    });
  });
  server.on("connection", () => connections++);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen, connections: () => connections };
}

/** Answers every request with `{"data": ...}`, by the path without its query string; what is not there is a 404. */
export function dataBy(answers: Record<string, unknown>): Answering {
  return ({ url }, response) => {
    const [path = ""] = url.split("?");
    if (!Object.hasOwn(answers, path)) response.writeHead(404).end();
    else response.setHeader("content-type", "application/json").end(JSON.stringify({ data: answers[path] }));
  };
}
