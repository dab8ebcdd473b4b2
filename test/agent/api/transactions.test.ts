import assert from "node:assert/strict";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { AgentError } from "../../../src/agent/client/connection";
import type { OpenRequest, StepInput, Target } from "../../../src/model/protocol/transaction";
import { OWNER } from "../../support/transaction";
import { until } from "../../support/until";
import { startPoolAgent, web } from "../pools/support/agent";
import { renewing } from "../support/pool";

/** Asserts an agent's refusal. */
function refusal(code: string, message: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof AgentError, String(error));
    assert.match(error.message, message);
    assert.equal(error.code, code);
    return true;
  };
}

const UNKNOWN = "00000000-0000-4000-8000-000000000000";

test("a transaction", async (t) => {
  const poolAgent = await startPoolAgent(t);
  const { client } = poolAgent;
  const begin = async (target: Target, over: Partial<OpenRequest> = {}) =>
    (await client.begin({ target, owner: OWNER, leaseMs: 60_000, ...over })).id;
  const run = (id: string, step: StepInput) => client.step(id, step, () => undefined);
  const start = async (name: string, release: string, env: Record<string, string> = {}) => {
    const pool = await poolAgent.pool(name);
    return {
      pool,
      step: { verb: "pool.start" as const, pool: name, spec: await pool.spec(release, { web: web(env) }) },
    };
  };

  await t.test("is the only one on its target, and says who holds it since when", async () => {
    const since = new Date().toISOString();
    const id = await begin("pool/alone", { owner: { who: "ana@build-7", why: "urn:web", pid: 4711 } });
    await assert.rejects(begin("pool/alone"), (error) => {
      assert.ok(error instanceof AgentError);
      assert.equal(error.code, "held");
      assert.match(
        error.message,
        /^pool\/alone is held: a transaction of ana@build-7 \(process 4711\) runs since \d{4}-.*, for urn:web; wait for it/,
      );
      assert.deepEqual(error.data.owner, { who: "ana@build-7", why: "urn:web", pid: 4711 });
      assert.ok(String(error.data.since) >= since);
      return true;
    });
    const other = await begin("pool/other");
    assert.deepEqual(
      (await client.status()).transactions.map(({ target }) => target),
      ["pool/alone", "pool/other"],
    );
    await client.abort(other, "end");
    await client.abort(id, "end");
    await client.abort(await begin("pool/alone"), "end");
  });

  await t.test("goes on beside one of another pool", async () => {
    const [one, two] = await Promise.all([start("left", "v1"), start("right", "v1")]);
    await Promise.all(
      [one, two].map(async ({ pool, step }) => {
        const id = await begin(`pool/${pool.name}`);
        await run(id, step);
        await run(id, { verb: "pool.switch", pool: pool.name });
        await run(id, { verb: "pool.follow", pool: pool.name });
        await client.commit(id);
      }),
    );
    assert.deepEqual(await Promise.all([one.pool.get(), two.pool.get()]), ["web#0@v1", "web#0@v1"]);
  });

  await t.test("can be aborted while its release starts; the step then says why it ended", async () => {
    const { pool, step } = await start("early", "v1", { HEALTH: "503" });
    const id = await begin("pool/early");
    const starting = run(id, step);
    const refused = assert.rejects(starting, refusal("undone", /is being undone: changed my mind/));
    await until("it to start", async () => (await pool.processes()).get("web#0@v1")?.state === "starting");
    assert.deepEqual((await client.abort(id, "changed my mind")).state, "undone");
    await refused;
    await until(
      "nothing to be left",
      async () => !(await poolAgent.processes()).some(({ id }) => id.startsWith("early.")),
    );
    assert.equal(await client.pool("early"), undefined);
  });

  await t.test("is undone when its lease runs out, also after the switch, and refuses what comes then", async () => {
    const { pool } = await start("lease", "v1");
    await pool.promote("v1", { web: web() });
    const spec = await pool.spec("v2", { web: web() });
    const id = await begin("pool/lease", { leaseMs: 3000 });
    await renewing(client, id, 3000, async () => {
      await run(id, { verb: "pool.start", pool: "lease", spec });
      await run(id, { verb: "pool.switch", pool: "lease" });
      assert.equal(await pool.get(), "web#0@v2");
    });
    await until("the undo", async () => (await client.transaction(id)).state === "undone");
    assert.equal(await pool.get(), "web#0@v1");
    const why = /its holder tester@here \(process \d+\) was silent for 3000 ms/;
    assert.match((await client.transaction(id)).reason ?? "", why);
    await assert.rejects(client.commit(id), refusal("undone", why));
    await assert.rejects(client.renew(id), refusal("undone", why));
    await assert.rejects(run(id, { verb: "pool.follow", pool: "lease" }), refusal("undone", why));
    assert.equal((await client.abort(id, "late")).state, "undone");
    await client.settle("lease");
    assert.deepEqual([...(await pool.processes()).keys()], ["web#0@v1"]);
  });

  await t.test("lives as long as its lease is renewed", async () => {
    const id = await begin("pool/renewed", { leaseMs: 3000 });
    await renewing(client, id, 3000, () => sleep(4500));
    assert.equal((await client.transaction(id)).state, "open");
    await client.abort(id, "end");
  });

  await t.test("that is not known is refused", async () => {
    const unknown = refusal("unknown-transaction", /^transaction 0{8}-.* is not known to this agent/);
    await assert.rejects(client.transaction(UNKNOWN), unknown);
    await assert.rejects(client.renew(UNKNOWN), unknown);
    await assert.rejects(client.commit(UNKNOWN), unknown);
    await assert.rejects(client.abort(UNKNOWN, "x"), unknown);
    await assert.rejects(run(UNKNOWN, { verb: "pool.switch", pool: "a" }), unknown);
  });

  await t.test("changes its own target only", async () => {
    const { pool, step } = await start("mine", "v1");
    const id = await begin("pool/yours");
    await assert.rejects(
      run(id, step),
      refusal("wrong-target", /^pool\.start changes pool\/mine, but the transaction is on pool\/yours/),
    );
    await client.abort(id, "end");
    const other = await begin("pool/yours");
    await assert.rejects(run(other, { verb: "edge.remove", edge: "mine" }), refusal("wrong-target", /edge\/mine/));
    await client.abort(other, "end");
    assert.equal((await pool.processes()).size, 0);
    assert.equal((await client.edge("mine"))?.live.haproxy, "running");
  });

  await t.test("takes no step, no commit and no abort once it is committed", async () => {
    const { pool, step } = await start("done", "v1");
    const id = await begin("pool/done");
    await run(id, step);
    await run(id, { verb: "pool.switch", pool: "done" });
    await run(id, { verb: "pool.follow", pool: "done" });
    assert.equal((await client.commit(id)).state, "committed");
    await assert.rejects(
      run(id, { verb: "pool.switch", pool: "done" }),
      refusal("committed", /pool\/done is committed/),
    );
    await assert.rejects(client.commit(id), refusal("committed", /pool\/done is committed/));
    await assert.rejects(client.renew(id), refusal("committed", /pool\/done is committed/));
    await assert.rejects(client.abort(id, "regret"), refusal("committed", /it can't be undone by an abort/));
    assert.equal(await pool.get(), "web#0@v1");
  });

  await t.test("can be aborted twice, also at once", async () => {
    const { step } = await start("twice", "v1");
    const id = await begin("pool/twice");
    await run(id, step);
    const states = await Promise.all([client.abort(id, "one"), client.abort(id, "two")]);
    assert.deepEqual(
      [...states, await client.abort(id, "three")].map(({ state, reason }) => [state, reason]),
      [
        ["undone", "one"],
        ["undone", "one"],
        ["undone", "one"],
      ],
    );
  });

  await t.test("moves no traffic to a release that did not start", async () => {
    const { pool } = await start("broken", "v1");
    await pool.promote("v1", { web: web() });
    const spec = await pool.spec("v2", { web: web({ EXIT: "3" }) });
    const id = await begin("pool/broken");
    await assert.rejects(
      run(id, { verb: "pool.start", pool: "broken", spec }),
      refusal("not-up", /exited with code 3/),
    );
    await assert.rejects(
      run(id, { verb: "pool.switch", pool: "broken" }),
      refusal("failed-step", /its pool\.start failed: abort it/),
    );
    assert.equal(await pool.get(), "web#0@v1");
    await assert.rejects(client.commit(id), refusal("failed-step", /its pool\.start failed: abort it/));
    await client.abort(id, "end");
    const bare = await begin("pool/broken");
    await assert.rejects(
      run(bare, { verb: "pool.switch", pool: "broken" }),
      refusal("not-started", /has no candidate in this transaction: run pool\.start first/),
    );
    await client.abort(bare, "end");
  });

  await t.test("takes a step that is asked for twice as one", async () => {
    const { pool, step } = await start("again", "v1");
    const id = await begin("pool/again");
    await run(id, step);
    const before = await pool.processes();
    await run(id, step);
    assert.deepEqual(await pool.processes(), before);
    for (const verb of ["pool.switch", "pool.switch", "pool.follow", "pool.follow"] as const)
      await run(id, { verb, pool: "again" });
    await client.commit(id);
    await client.settle("again");
    assert.deepEqual(await pool.processes(), before);
  });
});
