import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import type { AgentClient } from "../../../src/agent/client/client";
import { AgentError } from "../../../src/agent/client/connection";
import { StateFile } from "../../../src/agent/state/state";
import type { Claim } from "../../../src/model/protocol/ownership";
import { startTestAgent, temporaryFolder } from "../../support/agent";
import { freePorts } from "../../support/ports";
import { edgeStep } from "../support/pool";

const MAIN = "urn:pulumi:prod::shop::sluice:index:Edge::main";
const FRONT = "urn:pulumi:prod::shop::sluice:index:Edge::front";
const FOREIGN = "urn:pulumi:dev::shop::sluice:index:Edge::main";
const [ONE, TWO] = ["1".repeat(24), "2".repeat(24)];
const REMOVAL = { verb: "edge.remove", edge: "main" } as const;

function owned(message: RegExp) {
  return (error: unknown) => error instanceof AgentError && error.code === "owned" && message.test(error.message);
}

test("a target belongs to whom the last commit says", async (t) => {
  const { client, processes } = await startTestAgent(t);
  const step = edgeStep(await freePorts(1));
  const begin = async (urn: string, claim?: Claim) =>
    (await client.begin({ target: "edge/main", owner: { who: "ana@here", why: urn, pid: 1 }, leaseMs: 60_000, claim }))
      .id;
  const owner = async () => (await client.edge("main"))?.owner;
  const run = (id: string, what: Parameters<AgentClient["step"]>[1] = step) => client.step(id, what, () => undefined);

  await t.test("its creator, once that is committed", async () => {
    const id = await begin(MAIN, { kind: "create", token: ONE });
    await run(id);
    assert.equal(await owner(), undefined);
    await client.commit(id);
    assert.deepEqual(await owner(), { urn: MAIN, token: ONE });
  });

  await t.test("one that only holds it changes nothing of that", async () => {
    const id = await begin("a test");
    await run(id);
    await client.commit(id);
    assert.deepEqual(await owner(), { urn: MAIN, token: ONE });
  });

  await t.test("a takeover that is undone leaves it as it was", async () => {
    const id = await begin(FRONT, { kind: "create", token: TWO });
    await run(id);
    assert.deepEqual(await owner(), { urn: MAIN, token: ONE });
    await client.abort(id, "changed my mind");
    assert.deepEqual(await owner(), { urn: MAIN, token: ONE });
  });

  await t.test("another stack is refused, also by a preview", async () => {
    const refused = /^edge\/main belongs to stack prod of project shop \(urn:pulumi:prod::shop::.*\): destroy it there/;
    await assert.rejects(begin(FOREIGN, { kind: "create", token: TWO }), owned(refused));
    await assert.rejects(begin(FOREIGN, { kind: "change", token: TWO }), owned(refused));
    const [problem] = await client.check(step, FOREIGN);
    assert.match(problem?.message ?? "", refused);
    assert.deepEqual(await client.check(step, FRONT), []);
    assert.deepEqual((await client.plan(step)).taken, { from: MAIN, asItRuns: true });
  });

  await t.test("a takeover restarts nothing, and the former owner can't remove it", async () => {
    const before = await processes();
    const id = await begin(FRONT, { kind: "create", token: TWO });
    await run(id);
    await client.commit(id);
    assert.deepEqual(await owner(), { urn: FRONT, token: TWO });
    await assert.rejects(
      begin(MAIN, { kind: "remove", token: ONE }),
      owned(/^edge\/main is not removed for urn:.*::main: it belongs to urn:.*::front now$/),
    );
    assert.deepEqual(await processes(), before);
  });

  await t.test("a resource with another URN keeps it by its token", async () => {
    const id = await begin(FOREIGN, { kind: "change", token: TWO });
    await run(id);
    await client.commit(id);
    assert.deepEqual(await owner(), { urn: FOREIGN, token: TWO });
  });

  await t.test("its owner removes it, and with it what was known of its owner", async () => {
    const removal = await begin(MAIN, { kind: "remove", token: TWO });
    await run(removal, REMOVAL);
    await client.commit(removal);
    assert.deepEqual(await processes(), []);
    const id = await begin(MAIN, { kind: "create", token: ONE });
    await client.abort(id, "the test ends");
  });
});

test("an agent knows all resources that declare it", async (t) => {
  const { client } = await startTestAgent(t);
  const declarers = async () => (await client.about()).declarers;
  await client.declare({ urn: MAIN, token: ONE, gone: false });
  await client.declare({ urn: FOREIGN, token: TWO, gone: false });
  assert.deepEqual(await declarers(), { [ONE]: MAIN, [TWO]: FOREIGN });
  await client.declare({ urn: FRONT, token: ONE, gone: false });
  assert.deepEqual(await declarers(), { [ONE]: FRONT, [TWO]: FOREIGN });
  const again = "3".repeat(24);
  await client.declare({ urn: FRONT, token: again, gone: false });
  await client.declare({ urn: FRONT, token: ONE, gone: true });
  await client.declare({ urn: FOREIGN, token: TWO, gone: true });
  assert.deepEqual(await declarers(), { [again]: FRONT });
});

test("a state from before tokens is loaded, with its owners", async (t) => {
  const folder = await temporaryFolder(t);
  const fresh = await new StateFile(folder).load();
  assert.ok(fresh.kind === "new");
  const { declarers: _later, ...older } = { ...fresh.state, owners: { "edge/main": MAIN } };
  const digest = createHash("sha256").update(JSON.stringify(older)).digest("hex");
  const text = JSON.stringify({ version: 1, checksum: digest, state: older });
  for (const name of ["state.json", "state.copy.json"]) await writeFile(join(folder, name), text);
  const loaded = await new StateFile(folder).load();
  assert.ok(loaded.kind === "loaded", JSON.stringify(loaded));
  assert.deepEqual(loaded.state.owners, { "edge/main": { urn: MAIN } });
  assert.deepEqual(loaded.state.declarers, {});
  await new StateFile(folder).save(loaded.state);
  assert.match(await readFile(join(folder, "state.json"), "utf8"), /"owners": \{\n +"edge\/main": \{/);
});
