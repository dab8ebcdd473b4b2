import { readdir, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { backendSpec } from "../../../src/model/edge/backend";
import { edgeSpec } from "../../../src/model/edge/edge";
import type { EvidenceSummary } from "../../../src/model/evidence/record";
import type { StepInput } from "../../../src/model/protocol/transaction";
import { type RouteInput, routeSpec } from "../../../src/model/route/route";
import { startTestAgent, type TestAgent } from "../../support/agent";
import { freePorts } from "../../support/ports";
import { until } from "../../support/until";
import { change } from "../support/pool";

/** Long enough for a machine that is busy with other tests. */
export const DEADLINE = { deadlineMs: 60_000, intervalMs: 100 };

export function setRoute(split: number, more: Partial<RouteInput> = {}): StepInput {
  const spec = routeSpec.parse({ edges: ["main"], stable: "blue", candidate: "green", split, ...more });
  return { verb: "route.set", route: "api", spec };
}

/** An agent with an edge, metered or not, and two backends with a server each. */
export async function startWorld(t: TestContext, { meter = false, directory = "" } = {}) {
  const agent = await startTestAgent(t, directory === "" ? {} : { directory });
  const port = await freePorts(1);
  const http = { binds: [{ address: "127.0.0.1", port }], defaultBackend: "blue" };
  const spec = edgeSpec.parse({ meter, frontends: { http } });
  await change(agent.client, "edge/main", [{ verb: "edge.set", edge: "main", spec }]);
  for (const name of ["blue", "green"]) {
    const server = createServer((_request, response) => response.end(name));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.after(() => {
      server.closeAllConnections();
      server.close();
    });
    const one = { address: "127.0.0.1", port: (server.address() as AddressInfo).port };
    const backend = backendSpec.parse({ servers: { one } });
    await change(agent.client, `backend/main/${name}`, [
      { verb: "backend.set", edge: "main", backend: name, spec: backend },
    ]);
  }
  return { agent, url: `http://127.0.0.1:${port}/` };
}

/** The evidence of a transaction, once it has ended as it should. */
export function ended({ client }: Pick<TestAgent, "client">, id: string): Promise<EvidenceSummary> {
  return until(
    `evidence of the end of ${id}`,
    async () => (await client.evidence(100)).find((each) => each.id === id && each.verdict !== "running"),
    DEADLINE,
  );
}

/** Everything that is written of a transaction, by file, once it is complete. */
export async function complete(folder: string): Promise<Record<string, string>> {
  await until(
    `${folder} to be complete`,
    async () => {
      const files = await readdir(folder);
      return files.includes("index.html") && !files.includes("log.ndjson");
    },
    DEADLINE,
  );
  const files = await readdir(folder);
  return Object.fromEntries(
    await Promise.all(files.map(async (file) => [file, await readFile(join(folder, file), "utf8")] as const)),
  );
}
