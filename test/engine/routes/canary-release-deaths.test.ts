import assert from "node:assert/strict";
import test from "node:test";
import type { AgentClient } from "../../../src/agent/client/client";
import { allStats, type ProcessStat, readStat, send } from "../../../src/agent/processes/identity";
import { sendRequests } from "../../support/requests";
import { until } from "../../support/until";
import { startNodes } from "../support/canary-nodes";
import { stepsOf } from "../support/engine";

const BACK = { deadlineMs: 90_000, intervalMs: 200 };

test("a canary release whose peer, deployer or agent fails on its way", async (t) => {
  const { stack, edgePorts, clients, build, declare, all, releases, breaking, repair } = await startNodes(t);
  for (const id of ["v3", "v4"]) await build(id);
  await declare("v3", { window: "1 hour" });
  const first = await stack.up();
  assert.equal(first.exit, 0, first.stdout);
  const load = sendRequests(t, edgePorts);
  t.after(() => load.stop());
  assert.deepEqual(await releases(), all("v3"));

  await t.test("a peer that fails undoes itself alone, and the next update goes on with it", async () => {
    await declare("v4", { processes: { web: await breaking("two") } });
    const { exit, stdout } = await stack.up();
    assert.notEqual(exit, 0);
    assert.match(stdout, /web#0 of pool web-two \(release v4\) not healthy/);
    assert.match(stdout, /pool\/web-two of the agent at \S+ is as it was before/);
    assert.deepEqual(await releases(), { one: "v4", two: "v3", three: "v3" });
    await repair();
    const again = await stack.up();
    assert.equal(again.exit, 0, again.stdout);
    const steps = stepsOf(again, "sluice:index:Pool").filter(({ op }) => op === "update");
    assert.deepEqual(
      steps.map(({ urn }) => urn.split("::").at(-1)),
      ["web-two", "web-three"],
    );
    assert.deepEqual(await releases(), all("v4"));
  });

  await t.test("an update that is killed in the window is put back by the agents; the next one does it", async () => {
    await build("v5");
    await declare("v5", { window: "10 minutes" });
    const up = stack.start("up");
    await until("the canary to be watched", () => /watching/.test(up.output()), BACK);
    for (const { pid } of family(up.pid, await allStats())) send(pid, "SIGKILL");
    await up.finished;
    const agents = [clients["edges-0"], clients["edges-1"], clients["nodes-one"]] as AgentClient[];
    await until(
      "the canary put back",
      async () => {
        const open = await Promise.all(agents.map(async (client) => (await client.status()).transactions.length));
        const pool = await clients["nodes-one"]?.pool("web-one");
        return (
          open.every((count) => count === 0) &&
          pool?.live.release === "v4" &&
          pool.live.processes["web#0"] === "running"
        );
      },
      BACK,
    );
    assert.deepEqual(load.seen().failures, []);
    await stack.cancel();
    await declare("v5");
    const { exit, stdout } = await stack.up();
    assert.equal(exit, 0, stdout);
    assert.deepEqual(await releases(), all("v5"));
  });

  await t.test("a host whose agent is gone: a warning in the preview, and the update starts it first", async () => {
    await build("v6");
    await declare("v6");
    const client = clients["nodes-three"] as AgentClient;
    const { pid } = await client.about();
    for (const each of [readStat(pid)?.parent ?? 0, pid]) send(each, "SIGKILL");
    const preview = await stack.preview();
    assert.match(preview.stdout + preview.stderr, /What is shown is what was recorded at the last update/);
    assert.equal(preview.exit, 0, preview.stdout);
    // The update starts the agent again, which the host's own resource sees to.
    const { exit, stdout } = await stack.up();
    assert.equal(exit, 0, stdout);
    assert.deepEqual(await releases(), all("v6"));
  });

  assert.deepEqual((await load.stop()).failures, []);

  await t.test("a destroy leaves nothing", async () => {
    const { exit, stdout } = await stack.destroy();
    assert.equal(exit, 0, stdout);
  });
});

/** A process and all that it has started, as far as it still belongs to it. */
function family(pid: number, all: readonly ProcessStat[]): { pid: number }[] {
  return [{ pid }, ...all.filter(({ parent }) => parent === pid).flatMap((child) => family(child.pid, all))];
}
