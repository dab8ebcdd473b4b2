import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { type IncomingMessage, request } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { type BackendSpec, backendSpec } from "../../../../src/model/edge/backend";
import { type RouteInput, type RouteSpec, routeSpec } from "../../../../src/model/route/route";
import { freePorts } from "../../../support/ports";
import { until } from "../../../support/until";
import { binary, type TestEdge, upstream } from "./edge";

export const STABLE = "web";
export const CANDIDATE = "next";

/** Backends of these names, each with a server that answers its name. */
export async function sides(t: TestContext, ...names: string[]): Promise<Record<string, BackendSpec>> {
  const all = names.map(async (name): Promise<[string, BackendSpec]> => {
    const { port } = await upstream(t, name);
    return [name, backendSpec.parse({ servers: { one: { address: "127.0.0.1", port } } })];
  });
  return Object.fromEntries(await Promise.all(all));
}

export function route(split: number, more: Partial<RouteInput> = {}): RouteSpec {
  return routeSpec.parse({ edges: ["web"], stable: STABLE, candidate: CANDIDATE, split, ...more });
}

/** Backend that answered a request, and the cookie that came with it. */
export async function ask(
  edge: TestEdge,
  { path = "/", headers = {} }: { path?: string; headers?: Record<string, string> } = {},
): Promise<{ side: string; status: number; cookie: string | undefined; received: IncomingMessage["headers"] }> {
  return new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", port: edge.port, path, headers, agent: false, joinDuplicateHeaders: true };
    request(options, async (response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
      const body = JSON.parse(Buffer.concat(chunks).toString("utf8")) as { name?: string; headers?: object };
      resolve({
        side: body.name ?? "",
        status: response.statusCode ?? 0,
        cookie: response.headers["set-cookie"]?.[0],
        received: { ...body.headers },
      });
    })
      .on("error", reject)
      .end();
  });
}

/** Backends whose servers are as fast as HAProxy itself, which answers `S` for the stable side and `C` for the candidate. */
export async function fastSides(t: TestContext, edge: TestEdge): Promise<Record<string, BackendSpec>> {
  const ports = { S: await freePorts(1), C: await freePorts(1) };
  const path = join(edge.directory, "upstream.cfg");
  await writeFile(
    path,
    [
      "defaults",
      "  mode http",
      "  timeout client 60s",
      ...Object.entries(ports).flatMap(([answer, port]) => [
        `frontend ${answer}`,
        `  bind 127.0.0.1:${port}`,
        `  http-request return status 200 content-type text/plain string ${answer}`,
      ]),
      "",
    ].join("\n"),
  );
  const child: ChildProcess = spawn(binary, ["-db", "-f", path], { stdio: "ignore" });
  t.after(async () => {
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  });
  await until("the upstream answers", () =>
    fetch(`http://127.0.0.1:${ports.C}/`).then(
      (response) => response.ok,
      () => false,
    ),
  );
  const backend = (port: number) => backendSpec.parse({ servers: { one: { address: "127.0.0.1", port } } });
  return { [STABLE]: backend(ports.S), [CANDIDATE]: backend(ports.C) };
}

const PIPELINED = 200;

/** Sends as many requests as asked for, pipelined on a few connections, and counts how many the candidate answered. */
export async function count(
  port: number,
  requests: number,
  connections = 8,
): Promise<{ candidate: number; all: number }> {
  const each = requests / connections;
  const batch = Buffer.from("GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(PIPELINED));
  const counts = await Promise.all(
    Array.from({ length: connections }, async () => {
      const socket = connect(port, "127.0.0.1");
      const seen = { candidate: 0, all: 0 };
      let tail = "";
      let due = 0;
      try {
        for (let sent = 0; sent < each; sent += PIPELINED) {
          socket.write(batch);
          due += PIPELINED;
          while (seen.all < due) {
            const [chunk] = (await once(socket, "data")) as [Buffer];
            const text = tail + chunk.toString("latin1");
            const answers = text.match(/\r\n\r\n[SC]/g) ?? [];
            seen.all += answers.length;
            seen.candidate += answers.filter((answer) => answer.endsWith("C")).length;
            // An end of the head that is split between two chunks.
            const last = text.lastIndexOf("\r\n\r\n");
            tail =
              last >= 0 && last + 4 < text.length ? text.slice(Math.max(last + 5, text.length - 4)) : text.slice(-4);
          }
        }
      } finally {
        socket.destroy();
      }
      return seen;
    }),
  );
  return counts.reduce((sum, one) => ({ candidate: sum.candidate + one.candidate, all: sum.all + one.all }));
}
