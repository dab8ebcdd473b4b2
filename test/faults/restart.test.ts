import assert from "node:assert/strict";
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { suite, test } from "node:test";
import { findMarked, isAlive } from "../../src/agent/processes/identity";
import { until } from "../support/until";
import { kill, markerOf, powerCut } from "./support/host";
import { assertWhole } from "./support/whole";
import { SLOW_TO_FOLLOW, World } from "./support/world";

const patience = () => AbortSignal.timeout(30_000);

suite("an agent", { concurrency: 3 }, () => {
  test("whose guard is killed goes on, says that nobody guards it, and promotes", async (t) => {
    const world = await World.start(t);
    const { guard } = await world.agent();
    assert.equal((await world.client.about()).guarded, true);
    kill(guard);
    await until("the agent to notice", async () => !(await world.client.about()).guarded);
    await assertWhole(world, await world.promoteNext());
    assert.deepEqual(world.load?.snapshot().failures, []);
  });

  test("that is told to stop in the middle of a promotion undoes that first", async (t) => {
    const world = await World.start(t, { processes: SLOW_TO_FOLLOW });
    const { agent } = await world.agent();
    const marker = await markerOf(world.directory);
    const reached = world.phase("follow", patience());
    const deployment = world.deploy(world.nextRelease());
    await reached;
    process.kill(agent.pid, "SIGTERM");
    await until("the agent's end", () => !isAlive(agent));
    assert.equal((await deployment.finished).exit, 1);
    const config = await readFile(join(world.directory, "edges", "main", "haproxy.cfg"), "utf8");
    assert.match(config, / {2}server web-1-0 /);
    assert.doesNotMatch(config, /web-2-/);
    assert.ok((await findMarked(marker)).some(({ id }) => id === "app.1.web.0"));
    await world.startAgent();
    await assertWhole(world, "v1");
    assert.deepEqual(world.load?.snapshot().failures, []);
  });

  test("comes up after a reboot although a stranger has taken its edge's port, and mends that once it can", async (t) => {
    const world = await World.start(t, { load: false });
    const marker = await markerOf(world.directory);
    await powerCut(world.directory);
    const stranger = createServer((_, response) => response.end("stranger"));
    await new Promise<void>((resolve) => stranger.listen(world.edgePort, "127.0.0.1", resolve));
    t.after(() => stranger.close());
    await world.startAgent();
    const isWeb = ({ id }: { id: string }) => id.startsWith("app.1.web.");
    await until("the pool's processes", async () => (await findMarked(marker)).filter(isWeb).length === 4);
    const events = await readFile(join(world.directory, "events.ndjson"), "utf8");
    assert.match(events, new RegExp(`edge main could not be restored yet: .*:${world.edgePort} is in use by node`));
    stranger.closeAllConnections();
    await new Promise((resolve) => stranger.close(resolve));
    await assertWhole(world, "v1");
    await assertWhole(world, await world.promoteNext());
  });

  test("commits although the second copy of its state can't be written, and says so", async (t) => {
    const world = await World.start(t);
    const copy = join(world.directory, "state.copy.json");
    await rm(copy);
    await mkdir(join(copy, "in the way"), { recursive: true });
    const noted = world.event(({ message }) => message.includes("second copy of the state"), patience());
    const release = await world.promoteNext();
    await noted;
    await rm(copy, { recursive: true });
    const { agent } = await world.agent();
    kill(agent);
    await until("the next agent", async () => (await world.agent()).agent.pid !== agent.pid);
    await assertWhole(world, release);
    assert.deepEqual(world.load?.snapshot().failures, []);
  });

  test("that was killed between the two copies of its state makes them one", async (t) => {
    const world = await World.start(t);
    const [state, copy] = [join(world.directory, "state.json"), join(world.directory, "state.copy.json")];
    await copyFile(copy, `${copy}.before`);
    const release = await world.promoteNext();
    await assertWhole(world, release);
    const { agent, guard } = await world.agent();
    kill(guard);
    kill(agent);
    await copyFile(`${copy}.before`, copy);
    await world.startAgent();
    await assertWhole(world, release);
    // The copy is what a damaged state file is replaced by, so it must not be the one of before.
    const next = await world.agent();
    kill(next.guard);
    kill(next.agent);
    await writeFile(state, (await readFile(state, "utf8")).slice(0, 100));
    await world.startAgent();
    await assertWhole(world, release);
    assert.deepEqual(world.load?.snapshot().failures, []);
  });
});
