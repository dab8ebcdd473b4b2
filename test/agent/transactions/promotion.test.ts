import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import test from "node:test";
import { send } from "../../../src/agent/processes/identity";
import { startTestAgent } from "../../support/agent";
import { freeRange } from "../../support/ports";
import { change } from "../../support/transaction";
import { until } from "../../support/until";
import { edgeStep, promote, startStep, startWithPool } from "../support/pool";

test("a release can be replaced while its own process crashes again and again", async (t) => {
  const { client, app, url } = await startWithPool(t);
  const running = (await client.pool("web"))?.processes[0];
  // The folder's program is broken behind its back: what runs goes, and does not come up again.
  const broken = join(app.path, "app.cjs");
  const good = await readFile(broken, "utf8");
  await writeFile(broken, "process.exit(3);\n");
  send(running?.pid ?? 0, "SIGKILL");
  await until("v1 to be in backoff", async () => (await client.pool("web"))?.processes[0]?.state === "backoff");
  const fixed = `${app.path}-fixed`;
  await mkdir(fixed);
  await writeFile(join(fixed, "app.cjs"), good);
  await promote(client, { ...app, release: "v2", path: fixed });
  assert.equal(await (await fetch(url)).text(), "v2");
});

test("a replica that is wanted again while it still drains takes traffic on the port that it has", async (t) => {
  const { client, app, port, url } = await startWithPool(t, { replicas: 2 });
  const open = await Promise.all([hang(port), hang(port)]);
  t.after(() => open.forEach((call) => void call.destroy()));
  await promote(client, { ...app, replicas: 1 });
  await until("the second replica to drain", async () =>
    (await client.pool("web"))?.processes.some(({ state }) => state === "draining"),
  );
  await promote(client, { ...app, replicas: 2 });
  const pool = await client.pool("web");
  assert.deepEqual(pool?.processes.map(({ state }) => state).toSorted(), ["running", "running"]);
  for (let i = 0; i < 8; i++) assert.equal((await fetch(url)).status, 200);
  for (const { port } of pool?.processes ?? []) assert.equal((await fetch(`http://127.0.0.1:${port}/`)).status, 200);
  const observed = await client.edge("main");
  const ports = Object.values(observed?.observed.backends.web ?? {}).map(({ port }) => port);
  assert.deepEqual(ports.toSorted(), (pool?.processes ?? []).map(({ port }) => port).toSorted());
});

test("settle answers when what a removed pool ran is gone, also straight after the commit", async (t) => {
  const { client, processes } = await startWithPool(t, { env: { STUBBORN: "1" }, gracefulStop: "1 second" });
  await change(client, "pool/web", [{ verb: "pool.remove", pool: "web" }]);
  await client.settle("web");
  assert.deepEqual(
    (await processes()).filter(({ id }) => id.startsWith("web.")),
    [],
  );
});

test("a changed drain deadline holds for what runs already", async (t) => {
  const { client, app, port } = await startWithPool(t, { drainDeadline: "1 hour" });
  await promote(client, { ...app, drainDeadline: "1 second" });
  const open = await hang(port);
  t.after(() => void open.destroy());
  await promote(client, { ...app, drainDeadline: "1 second", release: "v2" });
  // Else this would take the hour with which the first release was started.
  await client.settle("web");
  assert.deepEqual(
    (await client.pool("web"))?.processes.map(({ release }) => release),
    ["v2"],
  );
});

test("of two pools that take the same ports at the same time, one is refused", async (t) => {
  const { client, app } = await startWithPool(t);
  const { from, to } = await freeRange(4);
  const begin = async (pool: string) => {
    const step = startStep({ ...app, ports: { from, to } }, pool);
    await change(client, `pool/${pool}`, [step]);
  };
  const results = await Promise.allSettled([begin("one"), begin("two")]);
  const failures = results.flatMap((result) => (result.status === "rejected" ? [String(result.reason)] : []));
  assert.equal(failures.length, 1);
  assert.match(failures[0] ?? "", /overlaps .* of pool (one|two)/);
});

test("a pool's move to another edge is refused in a preview and by a step", async (t) => {
  const { client, app } = await startWithPool(t);
  const { from } = await freeRange(1);
  await change(client, "edge/other", [edgeStep(from, "other")]);
  const step = startStep(app);
  const moved = { ...step, spec: { ...step.spec, edge: "other" } };
  const [problem, ...others] = await client.check(moved);
  assert.deepEqual([problem?.path, others], ["edge", []]);
  await assert.rejects(change(client, "pool/web", [moved]), /a pool can't move to edge other/);
});

test("the name that every object has is not found among pools", async (t) => {
  const { client } = await startTestAgent(t);
  await assert.rejects(client.pool("constructor"), /is not part of the agent's API/);
});

/** A request through the edge that never ends, once its answer has begun. */
function hang(port: number) {
  return new Promise<ReturnType<typeof request>>((resolve, reject) => {
    const call = request({ host: "127.0.0.1", port, path: "/hang", agent: false }, () => resolve(call));
    call.on("error", reject);
    call.end();
  });
}
