import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { agentOptions, isLiveChange } from "../../../src/model/protocol/agent";
import { agentResource } from "../../../src/provider/resources/agent";
import type { Context } from "../../../src/provider/server";
import { complete, ended } from "../../agent/evidence/support";
import { agentPid, startTestAgent } from "../../support/agent";

const OWNER = { who: "tester@here", why: "urn:test", pid: process.pid };

function context(): Context {
  const say = () => undefined;
  const log = { debug: say, info: say, warn: say, error: say, progress: say };
  const { signal } = new AbortController();
  const urn = "urn:pulumi:dev::test::sluice:index:Agent::host";
  return { urn, name: "host", type: "sluice:index:Agent", preview: false, signal, log, secrets: [] };
}

test("what is kept of the evidence changes while the agent runs", async (t) => {
  const agent = await startTestAgent(t);
  const { client, directory, socket } = agent;
  const ids: string[] = [];
  for (let count = 0; count < 3; count++) {
    const { id } = await client.begin({ target: "edge/main", owner: OWNER, leaseMs: 60_000 });
    await client.abort(id, "test");
    await complete((await ended(agent, id)).folder ?? "");
    ids.push(id);
  }
  const pid = await agentPid(directory);
  const { options, version } = await client.about();
  assert.equal(options.evidence, undefined);
  const olds = { ...options, directory, version, live: { agent: "running", guarded: true, installed: true } };
  const update = async (evidence: object | undefined) => {
    const { evidence: parsed } = agentOptions.parse({ socket, evidence });
    return agentResource.update?.(context(), { id: directory, olds, news: { ...olds, evidence: parsed } } as never);
  };
  await update({ count: 1 });
  assert.equal(await agentPid(directory), pid);
  assert.deepEqual((await client.about()).options.evidence, { count: 1, days: 400, size: "200 MiB" });
  const kept = await readdir(join(directory, "evidence"));
  assert.deepEqual(
    kept.map((name) => name.slice(-36)),
    ids.slice(-1),
  );
  const messages: string[] = [];
  const stop = new AbortController();
  for await (const { message } of client.events(stop.signal, { follow: "false", last: 50 })) messages.push(message);
  assert.ok(
    messages.includes("evidence is kept for 400 days, 1 transactions and 200 MiB at most from now on"),
    messages.join("\n"),
  );
  await update(undefined);
  assert.equal((await client.about()).options.evidence, undefined);
  assert.equal(await agentPid(directory), pid);
});

test("bounds of what is kept are refused with what they may be, and anything else needs the agent's restart", () => {
  const problems = (evidence: object) =>
    agentOptions.safeParse({ socket: "/run/a", evidence }).error?.issues.map(({ path }) => path.join("."));
  assert.equal(problems({ count: 10, days: 7, size: "1 GiB" }), undefined);
  assert.deepEqual(problems({ count: 0, days: 0, size: "10" }), ["evidence.count", "evidence.days", "evidence.size"]);
  const [one, other] = [{ socket: "/run/a" }, { socket: "/run/a", evidence: { count: 5 } }].map((each) =>
    agentOptions.parse(each),
  ) as [ReturnType<typeof agentOptions.parse>, ReturnType<typeof agentOptions.parse>];
  assert.equal(isLiveChange(one, other), true);
  assert.equal(isLiveChange(one, { ...other, mode: "0660" }), false);
  assert.equal(isLiveChange(one, { ...one, log: "/var/log/a" }), false);
});
