import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { createServer } from "node:net";
import test from "node:test";
import type { PoolInput } from "../../../../src/model/pool/pool";
import { OWNER } from "../../../support/transaction";
import { app, startPoolAgent, type TestPool, web } from "../support/agent";

test("ports", async (t) => {
  const poolAgent = await startPoolAgent(t);
  const { client } = poolAgent;
  const listen = async (port: number, address = "127.0.0.1") => {
    const server = createServer().listen(port, address);
    await once(server, "listening");
    return server;
  };
  const problemsOf = async (pool: TestPool, spec: PoolInput) =>
    client.check({ verb: "pool.start", pool: pool.name, spec });

  await t.test("of a stranger are passed over, and said when none is left", async (t) => {
    const pool = await poolAgent.pool("stranger");
    const { from } = pool.ports;
    const range = { ports: { from, to: from + 3 } };
    const first = await listen(from);
    t.after(() => first.close());
    const second = await listen(from + 1, "0.0.0.0");
    t.after(() => second.close());
    await pool.promote("v1", { web: web() }, range);
    assert.equal((await pool.processes()).get("web#0@v1")?.port, from + 2);
    const third = await listen(from + 3);
    t.after(() => third.close());
    await assert.rejects(
      pool.promote("v2", { web: web() }, range),
      new RegExp(
        `pool stranger needs one more port, but its range ${from}-${from + 3} has none left \\(4 of 4 are taken: web#0 of pool stranger \\(release v1\\), 3 by a process that is not Sluice's\\)`,
      ),
    );
    assert.equal(await pool.get(), "web#0@v1");
  });

  await t.test("that old releases still drain on are named with them", async () => {
    const pool = await poolAgent.pool("tight");
    const { from } = pool.ports;
    const range = { ports: { from, to: from + 1 }, drainDeadline: "5 seconds" as const };
    await pool.promote("v1", { web: web() }, range);
    const open = request(`${pool.url}/hang`, { agent: false }).end();
    await once(open, "response");
    await pool.promote("v2", { web: web() }, { ...range, settle: false });
    await assert.rejects(
      pool.promote("v3", { web: web() }, range),
      /2 of 2 are taken: .*web#0 of pool tight \(release v1\).*: widen the range, or wait until old releases have drained/,
    );
    await client.settle("tight");
    open.destroy();
    await pool.promote("v3", { web: web() }, range);
    assert.equal(await pool.get(), "web#0@v3");
  });

  await t.test("are each pool's own, ranges and services alike", async () => {
    const one = await poolAgent.pool("one");
    const two = await poolAgent.pool("two");
    const { from, to } = one.ports;
    const service = two.ports.to;
    await one.promote("v1", { web: web() });
    await two.promote(
      "v1",
      { web: web(), redis: app({}, { policy: "service", port: service }) },
      { ports: { from: two.ports.from, to: service - 1 } },
    );
    const three = await poolAgent.pool("three");
    assert.deepEqual(await problemsOf(three, await three.spec("v1", { web: web() }, { ports: { from: to - 1, to } })), [
      {
        path: "ports",
        message: `${to - 1}-${to} overlaps ${from}-${to} of pool one: give each pool ports of its own`,
      },
    ]);
    const spec = (port: number) => three.spec("v1", { web: web(), redis: app({}, { policy: "service", port }) });
    assert.deepEqual(await problemsOf(three, await spec(from + 1)), [
      { path: "processes.redis.port", message: `${from + 1} belongs to pool one: use another port` },
    ]);
    assert.deepEqual(await problemsOf(three, await spec(service)), [
      { path: "processes.redis.port", message: `${service} belongs to pool two: use another port` },
    ]);
    const over = await three.spec("v1", { web: web() }, { ports: { from: service, to: service + 3 } });
    assert.deepEqual(await problemsOf(three, over), [
      {
        path: "ports",
        message: `${service}-${service + 3} holds ${service}, the port of service redis of pool two: leave it out`,
      },
    ]);
    await assert.rejects(
      client
        .begin({ target: "pool/three", owner: OWNER })
        .then(({ id }) =>
          client
            .step(id, { verb: "pool.start", pool: "three", spec: over }, () => undefined)
            .finally(() => client.abort(id, "end")),
        ),
      /the port of service redis of pool two/,
    );
  });
});
