import assert from "node:assert/strict";
import test from "node:test";
import { AgentError } from "../../../src/agent/client/connection";
import { committedDifferences } from "../../../src/provider/changes/committed";
import { poolComparison } from "../../../src/provider/changes/pool-comparison";
import { type Context, type DiffEntry, UNKNOWN } from "../../../src/provider/server";

const COMMITTED = { drainDeadline: "3 seconds", processes: { web: { env: { A: "1" }, secretEnv: { TOKEN: "f00" } } } };
const WANTED = { drainDeadline: "2 seconds", processes: { web: { env: { A: "1" }, secretEnv: { TOKEN: "ba7" } } } };

/** The differences of what an agent has, and what is said of them. */
async function differences({
  compare = async () => ({ committed: COMMITTED, wanted: WANTED }),
  entries = [],
  ignoreChanges = [],
  news = {},
}: {
  compare?: () => Promise<{ committed?: Record<string, unknown>; wanted: Record<string, unknown> } | undefined>;
  entries?: DiffEntry[];
  ignoreChanges?: string[];
  news?: object;
} = {}) {
  const messages: string[] = [];
  const context = { log: { warn: (message: string) => messages.push(message) } } as unknown as Context;
  const { input } = poolComparison({} as never, {} as never);
  const request = { id: "web", olds: {}, oldInputs: {}, news: { ...news }, ignoreChanges };
  const found = await committedDifferences(context, request, entries, () => [{ compare, ...(input && { input }) }]);
  return { paths: found.map(({ path }) => path), messages: messages.join("\n") };
}

test("what an agent has otherwise is a difference that is told, without the values of secrets", async () => {
  const { paths, messages } = await differences();
  assert.deepEqual(paths, ["drainDeadline", "processes.web.env.TOKEN"]);
  assert.match(
    messages,
    /^its agent has drainDeadline: "3 seconds", processes\.web\.env\.TOKEN: another secret, which the /,
  );
});

test("it is none where it is known or ignored, where all is as it is declared, or where that can't be told", async () => {
  const entries = [{ path: "processes", kind: "update" as const }];
  assert.deepEqual(await differences({ entries, ignoreChanges: ["drainDeadline"] }), { paths: [], messages: "" });
  const same = async () => ({ committed: WANTED, wanted: WANTED });
  assert.deepEqual(await differences({ compare: same }), { paths: [], messages: "" });
  assert.deepEqual(await differences({ compare: async () => ({ wanted: WANTED }) }), { paths: [], messages: "" });
  const refused = () => Promise.reject(new AgentError("protocol", "another protocol"));
  assert.deepEqual(await differences({ compare: refused }), { paths: [], messages: "" });
  assert.deepEqual(await differences({ news: { release: UNKNOWN } }), { paths: [], messages: "" });
});

test("many and long values are cut", async () => {
  const committed = Object.fromEntries([..."abcdefg"].map((key) => [key, "x".repeat(200)]));
  const { messages } = await differences({ compare: async () => ({ committed, wanted: {} }) });
  assert.match(messages, /^its agent has a: "x{79}\.\.\., .*e: "x{79}\.\.\. and 2 more, which/);
});
