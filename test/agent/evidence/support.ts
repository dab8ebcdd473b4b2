import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { EvidenceSummary } from "../../../src/model/evidence/record";
import type { TestAgent } from "../../support/agent";
import { namedServers, startHarness } from "../../support/harness";
import { until } from "../../support/until";

/** Long enough for a machine that is busy with other tests. */
export const DEADLINE = { deadlineMs: 60_000, intervalMs: 100 };

/** An agent with an edge, metered or not, and two backends with a server each. */
export async function startWithRoute(t: TestContext, options: { meter?: boolean; directory?: string } = {}) {
  return startHarness(t, { ...options, backends: await namedServers(t, "blue", "green") });
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
