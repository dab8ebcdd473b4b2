import assert from "node:assert/strict";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { until } from "../../../support/until";
import { app, startPoolAgent, web } from "../support/agent";
import { ask, broker, NO_BROKER, perl } from "../support/broker";

const PATIENT = { deadlineMs: 60_000 };

test("services", async (t) => {
  const poolAgent = await startPoolAgent(t);
  const { client, directory, events } = poolAgent;
  const find = async (pool: string, key: string) =>
    (await client.pool(pool))?.processes.find((each) => each.key === key && each.wanted);

  await t.test(
    "that hand over their port follow the release, without a gap",
    {
      skip: NO_BROKER,
    },
    async () => {
      const pool = await poolAgent.pool("handoff");
      const port = pool.ports.to;
      const ports = { from: pool.ports.from, to: pool.ports.to - 1 };
      const queue = broker(port);
      await pool.promote("v1", { web: web(), broker: queue }, { ports });
      assert.equal(await ask(port), "v1");
      const seen = new Set<string>();
      let on = true;
      const asking = (async () => {
        while (on) seen.add(await ask(port));
      })();
      await pool.promote("v2", { web: web(), broker: queue }, { ports });
      assert.equal(await ask(port), "v2");
      assert.equal((await find("handoff", "broker"))?.state, "running");
      await assert.rejects(
        pool.promote(
          "v3",
          {
            web: web(),
            broker: { ...queue, command: perl("-e", "sleep 100"), health: { tcp: true, deadline: "3 seconds" } },
          },
          { ports },
        ),
        /broker of pool handoff \(release v3\) does not listen on port \d+ beside its predecessor/,
      );
      await client.settle("handoff");
      assert.equal(await ask(port), "v2");
      on = false;
      await asking;
      assert.deepEqual([...seen].toSorted(), ["v1", "v2"], "no connection was refused");
      assert.deepEqual([...(await pool.processes()).keys()].toSorted(), ["broker@v2", "web#0@v2"]);
    },
  );

  await t.test("may have replicas, which are scaled live", async () => {
    const pool = await poolAgent.pool("many");
    const seen = async () => [...(await pool.processes())].map(([key, { pid }]) => [key, pid] as const);
    const helper = (replicas: number) => app({}, { policy: "service", replicas });
    await pool.promote("v1", { web: web(), helper: helper(2) });
    const before = await seen();
    assert.deepEqual(before.map(([key]) => key).toSorted(), ["helper#0@v1", "helper#1@v1", "web#0@v1"]);
    await pool.promote("v2", { web: web(), helper: helper(3) });
    const after = await seen();
    assert.deepEqual(after.map(([key]) => key).toSorted(), ["helper#0@v1", "helper#1@v1", "helper#2@v2", "web#0@v2"]);
    const kept = (all: typeof before) => all.filter(([key]) => /helper#[01]@v1/.test(key)).toSorted();
    assert.deepEqual(kept(after), kept(before));
    await pool.promote("v2", { web: web(), helper: helper(1) });
    assert.deepEqual((await seen()).map(([key]) => key).toSorted(), ["helper@v1", "web#0@v2"]);
    await client.settle("many");
    const { live, processes } = (await client.pool("many")) ?? {};
    assert.deepEqual(live?.processes, { helper: "running", "web#0": "running" });
    // One of an older release is where it belongs.
    assert.deepEqual(processes?.map(({ key, release, current }) => [key, release, current]).toSorted(), [
      ["helper", "v1", true],
      ["web#0", "v2", true],
    ]);
  });

  await t.test("that turn unhealthy restart by their policy, others are shown", async () => {
    const pool = await poolAgent.pool("unwell");
    const good = join(directory, "unwell.good");
    await writeFile(good, "");
    const health = {
      command: ["/bin/sh", "-c", `test "$HELLO" = there && kill -0 "$SLUICE_PID" && test -e ${good}`],
      interval: "50 milliseconds",
      checkInterval: "100 milliseconds",
      fall: 2,
    } as const;
    const parts = {
      health: { ...health, command: [...health.command] },
      restart: { delay: "100 milliseconds" },
    } satisfies Parameters<typeof app>[1];
    await pool.promote("v1", {
      web: web(),
      helper: app({ HELLO: "there" }, { policy: "service", ...parts }),
      side: app({ HELLO: "there" }, parts),
    });
    assert.equal((await find("unwell", "helper"))?.health, "healthy");
    const { pid } = (await find("unwell", "helper")) ?? {};
    const side = (await find("unwell", "side#0"))?.pid;
    await rm(good);
    await until("both to be unwell", async () => (await find("unwell", "side#0"))?.health === "unhealthy", PATIENT);
    await until("the service to restart", async () => (await find("unwell", "helper"))?.pid !== pid, PATIENT);
    await writeFile(good, "");
    await until(
      "both to be well",
      async () => {
        const both = [await find("unwell", "helper"), await find("unwell", "side#0")];
        return both.every((each) => each?.state === "running" && each.health === "healthy");
      },
      PATIENT,
    );
    assert.equal((await find("unwell", "helper"))?.reason, "unhealthy");
    assert.equal((await find("unwell", "side#0"))?.pid, side);
    const matching = events.filter(
      ({ data, message }) => data.pool === "unwell" && /unhealthy:|healthy again/.test(message),
    );
    assert.match(matching[0]?.message ?? "", /is unhealthy: \/bin\/sh exited with code 1$/);
  });

  await t.test("are ready when their output says so, or their port takes connections", async () => {
    const pool = await poolAgent.pool("ready");
    const port = pool.ports.to;
    const ports = { from: pool.ports.from, to: pool.ports.to - 1 };
    const line = { line: "ready to serve", interval: "20 milliseconds" } as const;
    await pool.promote(
      "v1",
      {
        web: web({}, { health: { tcp: true, interval: "20 milliseconds" } }),
        talks: app({ SAY: "I am ready to serve now" }, { policy: "service", health: line }),
        listens: app({}, { policy: "service", port, health: { tcp: true } }),
      },
      { ports },
    );
    await assert.rejects(
      pool.promote(
        "v2",
        { web: web(), side: app({ SAY: "not yet" }, { health: { ...line, deadline: "500 milliseconds" } }) },
        { ports },
      ),
      /side#0 of pool ready \(release v2\) not healthy within 500 milliseconds: its output has no "ready to serve" yet; its last output:\n {2}\| not yet/,
    );
  });
});
