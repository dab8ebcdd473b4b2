import { createServer, type IncomingHttpHeaders, type RequestListener, request, type Server } from "node:http";
import type { TestContext } from "node:test";
import type { StepInput } from "../../../src/model/protocol/transaction";
import { type RouteInput, routeSpec } from "../../../src/model/route/route";
import { startHarness } from "../../support/harness";
import { freePorts } from "../../support/ports";
import { until as untilWithin } from "../../support/until";

/** The mirror's process comes after everybody else, so on a busy machine it may take its time. */
export function until<T>(what: string | (() => string), probe: () => T | Promise<T>) {
  return untilWithin(what, probe, { deadlineMs: 90_000 });
}

/** A request as a server got it. */
interface Got {
  method: string;
  url: string;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/** A server that answers with its own name, and keeps what it got. */
export interface MirroredSide {
  port: number;
  got: Got[];
  server: Server;
  /** Listens again at its port. */
  open(): Promise<void>;
  /** Refuses connections from now on. */
  close(): Promise<void>;
}

export async function side(
  t: TestContext,
  name: string,
  answer: RequestListener = (_, to) => to.end(name),
): Promise<MirroredSide> {
  const got: Got[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    } catch (error) {
      // Its sender went away in the middle of it.
      response.destroy(error as Error);
      return;
    }
    const { method = "", url = "", headers } = request;
    got.push({ method, url, headers, body: Buffer.concat(chunks) });
    answer(request, response);
  });
  server.keepAliveTimeout = 60_000;
  const listen = (port: number) => new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const close = async () => {
    if (!server.listening) return;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  // Nobody else may get it while it is closed.
  const port = await freePorts(1);
  await listen(port);
  t.after(close);
  return { port, got, server, open: () => listen(port), close };
}

/** Sends a request on a connection of its own, which goes to the newest worker. */
export function send(
  port: number,
  path: string,
  { method = "GET", headers = {}, body }: { method?: string; headers?: Record<string, string>; body?: Buffer } = {},
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const call = request({ port, path, method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") }),
      );
    });
    call.on("error", reject);
    call.end(body);
  });
}

export function routeStep(more: Partial<RouteInput> = {}): StepInput {
  const spec = routeSpec.parse({ edges: ["main"], stable: "web", split: 0, ...more });
  return { verb: "route.set", route: "api", spec };
}

/** An agent with the edge `main` and its backends, each with one server. */
export async function startMirrored(
  t: TestContext,
  backends: Record<string, { port: number }>,
  { meter = false } = {},
) {
  const harness = await startHarness(t, { backends, meter });
  return {
    ...harness,
    route: (more: Partial<RouteInput>) => harness.change("route/api", routeStep(more)),
    figures: async () => (await harness.client.mirror()).routes.api,
  };
}
