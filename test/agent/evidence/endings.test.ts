import assert from "node:assert/strict";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { send } from "../../../src/agent/processes/identity";
import { agentPid, startTestAgent } from "../../support/agent";
import { setRoute } from "../../support/harness";
import { freeRange } from "../../support/ports";
import { OWNER } from "../../support/transaction";
import { until } from "../../support/until";
import { releaseFolder, startStep } from "../support/pool";
import { complete, DEADLINE, ended, startWithRoute } from "./support";

const long = { owner: OWNER, leaseMs: 60_000 };

async function evidenceOf({ client }: { client: Awaited<ReturnType<typeof startTestAgent>>["client"] }, id: string) {
  const found = await client.evidenceOf(id);
  assert.ok(found !== undefined);
  return found.record;
}

test("each way in which a transaction can end leaves a folder with the true verdict", async (t: TestContext) => {
  const agent = await startWithRoute(t);
  const { client } = agent;

  const made = await client.begin({ target: "route/api", ...long });
  await client.step(made.id, setRoute(0), () => undefined);
  await client.commit(made.id);
  const committed = await ended(agent, made.id);
  const folder = committed.folder ?? "";
  assert.equal(folder, join(agent.directory, "evidence", folder.split("/").at(-1) ?? ""));
  assert.deepEqual([committed.verdict, committed.ending, committed.reason], ["committed", "commit", undefined]);
  assert.deepEqual([committed.summary, committed.who], [{ from: null, to: "0%" }, OWNER.who]);
  const files = await complete(folder);
  assert.deepEqual(Object.keys(files).toSorted(), ["evidence.json", "index.html"]);
  assert.match(files["index.html"] ?? "", /<header class="committed">/);
  assert.match(files["index.html"] ?? "", /requests were not counted: main is not metered/);
  for (const [path, mode] of [
    ["", 0o700],
    ["evidence.json", 0o600],
    ["index.html", 0o600],
  ] as const)
    assert.equal((await stat(join(folder, path))).mode & 0o777, mode, path);

  const aborted = await client.begin({ target: "route/api", ...long });
  await client.step(aborted.id, setRoute(5000), () => undefined);
  assert.equal((await evidenceOf(agent, aborted.id)).verdict, "running");
  await client.abort(aborted.id, "a gate said <no>");
  const record = await ended(agent, aborted.id).then(() => evidenceOf(agent, aborted.id));
  assert.deepEqual([record.verdict, record.ending, record.reason], ["undone", "abort", "a gate said <no>"]);
  assert.deepEqual(
    record.splits.map(({ parts }) => parts),
    [0, 5000, 0],
  );
  assert.deepEqual(record.changes, [{ path: "split", from: "0%", to: "50%" }]);
  const undone = await complete((await ended(agent, aborted.id)).folder ?? "");
  assert.match(undone["index.html"] ?? "", /<p class="reason">a gate said &lt;no&gt;<\/p>/);
  const share = "route api.candidate's share.main";
  const undoneRecord = JSON.parse(undone["evidence.json"] ?? "");
  assert.deepEqual([undoneRecord.before.values[share], undoneRecord.after.values[share]], ["0%", "0%"]);
  // The undo does not wait for the look at what it puts back.
  assert.ok(["0%", "50%"].includes(undoneRecord.during.values[share]), undoneRecord.during.values[share]);
  assert.match(undone["index.html"] ?? "", /As the undo began, at \+/);

  const lost = await client.begin({ target: "route/api", owner: OWNER, leaseMs: 500 });
  const silent = await ended(agent, lost.id);
  assert.deepEqual([silent.verdict, silent.ending], ["undone", "lease"]);
  assert.match(silent.reason ?? "", /^its holder tester@here \(process \d+\) was silent for 500 ms$/);

  const killed = await client.begin({ target: "route/api", ...long });
  await client.step(killed.id, setRoute(10_000), () => undefined);
  const at = Date.now();
  await client.notes(killed.id, [{ kind: "stage", at, stage: "100%", split: 10_000 }]);
  send((await agentPid(agent.directory)) ?? 0, "SIGKILL");
  const crash = await ended(agent, killed.id);
  assert.deepEqual([crash.verdict, crash.ending], ["undone", "crash"]);
  assert.equal(
    crash.reason,
    "the agent ended in the middle of the transaction, and undid it when it was started again",
  );
  const left = await evidenceOf(agent, killed.id);
  assert.deepEqual(
    left.splits.map(({ parts }) => parts),
    [0, 10_000, 0],
  );
  assert.ok(left.marks.some(({ kind, text }) => kind === "stage" && text === "stage 100%, 100% to the candidate"));
  assert.deepEqual([left.before?.values[share], left.after?.values[share]], ["0%", "0%"]);
  await complete(crash.folder ?? "");

  const open = await client.begin({ target: "route/api", ...long });
  await client.step(open.id, setRoute(10_000), () => undefined);
  const pid = (await agentPid(agent.directory)) ?? 0;
  send(pid, "SIGTERM");
  const name = await until(
    "its folder",
    async () => (await readdir(join(agent.directory, "evidence"))).find((each) => each.endsWith(open.id)),
    DEADLINE,
  );
  const stopped = await complete(join(agent.directory, "evidence", name));
  const { verdict, ending, reason } = JSON.parse(stopped["evidence.json"] ?? "");
  assert.deepEqual([verdict, ending, reason], ["undone", "stop", "the agent was told to stop (SIGTERM)"]);
  await until("the agent to be gone", async () => (await agentPid(agent.directory)) === undefined, DEADLINE);

  const again = await startTestAgent(t, { directory: agent.directory });
  const ids = (await again.client.evidence(5)).map(({ id }) => id);
  assert.deepEqual(ids, [open.id, killed.id, lost.id, aborted.id, made.id]);
});

test("secrets and values of environment variables are in no file of the evidence", async (t) => {
  const agent = await startTestAgent(t);
  const { client, directory } = agent;
  const { from, to } = await freeRange(3);
  const frontends = { http: { binds: [{ address: "127.0.0.1", port: from }], defaultBackend: "web" } };
  const edge = await client.begin({ target: "edge/main", ...long });
  await client.step(edge.id, { verb: "edge.set", edge: "main", spec: { frontends } }, () => undefined);
  await client.commit(edge.id);
  const secret = "hunter2-the-token";
  const env = { TOKEN: secret, GREETING: "plain-but-private", FAIL: "1" };
  const start = startStep({ path: await releaseFolder(directory), ports: { from: from + 1, to }, release: "v1", env });
  // It prints its secret as it fails, and its holder says it in a note and as the reason.
  const web = { ...start.spec.processes.web, command: ["/bin/sh", "-c", "echo token is $TOKEN; exit 1"] };
  const spec = { ...start.spec, processes: { web } } as typeof start.spec;
  const { id } = await client.begin({ target: "pool/web", ...long });
  await assert.rejects(client.step(id, { ...start, spec, secrets: { web: ["TOKEN"] } }, () => undefined));
  await client.notes(id, [{ kind: "remark", at: Date.now(), text: `it said ${secret}` }]);
  await client.abort(id, `it failed with ${secret}`);
  const { folder = "", reason } = await ended(agent, id);
  assert.equal(reason, "it failed with [secret]");
  const files = await complete(folder);
  const all = Object.values(files).join("\n");
  assert.match(all, /it said \[secret\]/);
  assert.ok(!all.includes(secret));
  assert.ok(!all.includes("plain-but-private"));
  const changes = JSON.parse(files["evidence.json"] ?? "").changes as { path: string }[];
  assert.deepEqual(
    changes.filter(({ path }) => path.includes(".env.")),
    ["GREETING", "FAIL", "TOKEN"].map((name) => ({ path: `processes.web.env.${name}`, from: null, to: "(hidden)" })),
  );
});
