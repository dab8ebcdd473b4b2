import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { findMarked, isAlive } from "../../src/agent/processes/identity";
import { until } from "../support/until";
import { kill, markerOf } from "./support/host";
import { answeringRelease, assertWhole, committedRelease } from "./support/whole";
import { EDGE, POOL, SLOW_TO_FOLLOW, World } from "./support/world";

const patience = () => AbortSignal.timeout(30_000);

suite("an undo", { concurrency: 3 }, () => {
  test("happens to a deployer that is frozen for longer than its lease, and that can't commit any more", async (t) => {
    const world = await World.start(t, { processes: SLOW_TO_FOLLOW });
    const release = world.nextRelease();
    const reached = world.phase("follow", patience());
    const deployment = world.deploy(release);
    await reached;
    deployment.kill("SIGSTOP");
    await world.quiet();
    deployment.kill("SIGCONT");
    const { exit, output } = await deployment.finished;
    assert.equal(exit, 1);
    assert.match(output, /silent for 5000 ms/);
    await assertWhole(world, "v1");
    assert.deepEqual(world.load?.snapshot().failures, []);
  });

  test("goes on with the next agent when its own is killed in the middle", async (t) => {
    const world = await World.start(t, { processes: SLOW_TO_FOLLOW });
    const reached = world.phase("follow", patience());
    const undoing = world.event(({ message }) => message.startsWith("undoing"), patience());
    const { agent } = await world.agent();
    const deployment = world.deploy(world.nextRelease());
    await reached;
    deployment.kill("SIGINT");
    await undoing;
    kill(agent);
    assert.equal((await deployment.finished).exit, 1);
    await assertWhole(world, "v1");
    await assertWhole(world, await world.promoteNext());
    assert.deepEqual(world.load?.snapshot().failures, []);
  });

  test("comes to its end although agents are killed one after the other while they start", async (t) => {
    const world = await World.start(t, { processes: SLOW_TO_FOLLOW });
    const reached = world.phase("follow", patience());
    const deployment = world.deploy(world.nextRelease());
    await reached;
    for (let round = 0; round < 3; round++) {
      // From the second one on it is killed as soon as it has claimed the folder: in the middle of its start.
      const { agent, guard } = await until("an agent", () => world.agent(), { intervalMs: 5 });
      kill(guard);
      kill(agent);
      // Only the last one comes to answer.
      void world.startAgent().catch(() => undefined);
    }
    await world.quiet();
    assert.equal((await deployment.finished).exit, 1);
    await assertWhole(world, "v1");
    await assertWhole(world, await world.promoteNext());
    assert.deepEqual(world.load?.snapshot().failures, []);
  });

  test("takes the traffic back at once, without waiting for a process that is slow to stop", async (t) => {
    const stubborn = { policy: "singleton" as const, gracefulStop: "1 hour" as const };
    const command = { command: "trap '' TERM; while :; do sleep 1; done", shell: true };
    const world = await World.start(t, { processes: { clock: { ...stubborn, ...command } } });
    const marker = await markerOf(world.directory);
    const clocks = async () => (await findMarked(marker)).filter(({ id }) => id === `${POOL}.1.clock.0`);
    const reached = world.phase("follow", patience());
    const deployment = world.deploy(world.nextRelease());
    await reached;
    assert.equal(await answeringRelease(world), "v2");
    deployment.kill("SIGINT");
    await until("the old release to answer again", async () => (await answeringRelease(world)) === "v1");
    const old = await clocks();
    assert.ok(old.some(isAlive), "the old singleton is not to have been waited for");
    for (const process of old) kill(process);
    assert.equal((await deployment.finished).exit, 1);
    await world.quiet();
    assert.equal(await committedRelease(world), "v1");
    await until("a new singleton of the old release", async () => (await clocks()).length > 0);
    for (const process of await clocks()) kill(process);
    assert.deepEqual(world.load?.snapshot().failures, []);
  });

  test("ends a candidate that ignores SIGTERM, and the next promotion does not take it for its own", async (t) => {
    const world = await World.start(t);
    const reached = world.phase("follow", patience());
    const { web, ...others } = world.pool("v2").processes;
    assert.ok(web);
    const deployment = world.deploy(world.nextRelease(), {
      processes: { ...others, web: { ...web, env: { IGNORE_SIGTERM: "1" } } },
    });
    await reached;
    deployment.kill("SIGINT");
    assert.equal((await deployment.finished).exit, 1);
    // At once: what was undone is still being stopped.
    await assertWhole(world, await world.promoteNext());
    assert.deepEqual(world.load?.snapshot().failures, []);
  });

  test("of one of two transactions on an edge leaves the other one's change", async (t) => {
    const world = await World.start(t);
    const target = { target: `edge/${EDGE}`, owner: { who: "test", why: "test", pid: process.pid }, leaseMs: 60_000 };
    const changed = { ...world.edge, maxConnections: 1234 };
    const say = () => undefined;

    const undone = await world.client.begin(target);
    const reached = world.phase("follow", patience());
    const deployment = world.deploy(world.nextRelease());
    await reached;
    await world.client.step(undone.id, { verb: "edge.set", edge: EDGE, spec: changed }, say);
    assert.equal((await deployment.finished).exit, 0);
    assert.equal((await world.client.plan({ verb: "edge.set", edge: EDGE, spec: changed })).how, "nothing");
    await world.client.abort(undone.id, "changed my mind");
    await assertWhole(world, "v2");

    const kept = await world.client.begin(target);
    const [started, switching] = [world.phase("start", patience()), world.phase("switch", patience())];
    const cancelled = world.deploy(world.nextRelease());
    await started;
    await world.client.step(kept.id, { verb: "edge.set", edge: EDGE, spec: changed }, say);
    await switching;
    cancelled.kill("SIGINT");
    assert.equal((await cancelled.finished).exit, 1);
    await world.client.commit(kept.id);
    assert.equal((await world.client.plan({ verb: "edge.set", edge: EDGE, spec: changed })).how, "nothing");
    await world.change(`edge/${EDGE}`, { verb: "edge.set", edge: EDGE, spec: world.edge });
    await assertWhole(world, "v2");
    assert.deepEqual(world.load?.snapshot().failures, []);
  });
});
