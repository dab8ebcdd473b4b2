import assert from "node:assert/strict";
import test from "node:test";
import { DEFAULT_LEASE_MS, type StepInput } from "../../src/model/protocol/transaction";
import type { StageInput } from "../../src/model/route/stages";
import { until } from "../support/until";
import { deploy } from "./support/deploy";
import { kill, powerCut } from "./support/host";
import { POOL, World } from "./support/world";

/** Longest undo after the lease has run out, on a machine that has much else to do. */
const UNDO_MS = 30_000;
const STAGES = ["1%", "10%", "50%", "100%"] as const;

/** The step that tries a release in a stage which then waits for longer than any test. */
function trying(world: World, stable: string, candidate: string, stage: string, waitsAt?: string) {
  const spec = world.pool(stable);
  const release = { id: candidate, path: spec.release.path };
  const stages = STAGES.map((split): StageInput => ({ split, window: split === waitsAt ? "1 hour" : "0 seconds" }));
  const start: StepInput = { verb: "pool.start", pool: POOL, spec, canary: { release, processes: spec.processes } };
  return deploy(world.socket, start, { release, stages, stage });
}

test("a rollout of a pool's candidate, killed in each of its stages", async (t) => {
  const world = await World.start(t);
  const { client } = world;
  const share = async () => (await client.pool(POOL))?.candidate?.now;
  const running = async () => {
    await client.settle(POOL);
    const all = (await client.pool(POOL))?.processes ?? [];
    return all.map(({ id, pid, state }) => `${id} ${pid} ${state}`).toSorted();
  };
  await t.test("SIGKILL of the deployer in stage 1%, with which its trial began", async () => {
    const alone = await running();
    const rollout = trying(world, "v1", "v2", "1%", "1%");
    await until("stage 1%", async () => (await share()) === 100, { deadlineMs: UNDO_MS });
    rollout.kill("SIGKILL");
    await rollout.finished;
    await until("its trial to be undone", async () => (await client.pool(POOL))?.candidate === undefined, {
      deadlineMs: DEFAULT_LEASE_MS + UNDO_MS,
    });
    await world.quiet();
    assert.deepEqual(await running(), alone);
  });

  const first = trying(world, "v1", "v2", "1%");
  assert.deepEqual(await first.finished, { exit: 0, output: "" });
  const before = await running();

  for (const [stage, who] of [
    ["10%", "deployer"],
    ["50%", "deployer and the agent"],
    ["100%", "deployer"],
  ] as const) {
    await t.test(`SIGKILL of the ${who} in stage ${stage}`, async () => {
      const rollout = trying(world, "v1", "v2", "100%", stage);
      const parts = Number.parseInt(stage, 10) * 100;
      await until(`stage ${stage}`, async () => (await share()) === parts, { deadlineMs: UNDO_MS });
      rollout.kill("SIGKILL");
      if (who !== "deployer") kill((await world.agent()).agent);
      await rollout.finished;
      const since = performance.now();
      await until("its share to be back", async () => (await share().catch(() => undefined)) === 100, {
        deadlineMs: DEFAULT_LEASE_MS + UNDO_MS,
      });
      t.diagnostic(`back after ${Math.round(performance.now() - since)} ms`);
      await world.quiet();
      assert.deepEqual(await running(), before);
      const { failed, failures } = world.load?.snapshot() ?? {};
      assert.equal(failed, 0, JSON.stringify(failures));
    });
  }

  await t.test("a reboot comes back with the committed share", async () => {
    const rollout = trying(world, "v1", "v2", "10%");
    assert.deepEqual(await rollout.finished, { exit: 0, output: "" });
    await world.load?.stop();
    await powerCut(world.directory);
    await world.startAgent();
    await until("HAProxy to have it", async () => (await share()) === 1000, { deadlineMs: UNDO_MS });
    await until("both releases to run", async () => {
      const { live } = (await client.pool(POOL)) ?? {};
      const states = [...Object.values(live?.processes ?? {}), ...Object.values(live?.candidate?.processes ?? {})];
      return states.length > 0 && states.every((state) => state === "running");
    });
  });

  await t.test("and the next update goes on from there", async () => {
    const { exit, output } = await trying(world, "v1", "v2", "50%").finished;
    assert.equal(exit, 0, output);
    assert.equal(await share(), 5000);
  });
});
