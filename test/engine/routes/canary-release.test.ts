import assert from "node:assert/strict";
import test from "node:test";
import { sendRequests } from "../../support/requests";
import { APP, startNodes } from "../support/canary-nodes";
import { stepsOf } from "../support/engine";

test("canary releases, node by node, on two edges and three nodes of five agents", async (t) => {
  const { stack, edgePorts, build, declare, all, releases } = await startNodes(t);
  for (const id of ["v1", "v2"]) await build(id);
  await declare("v1", { window: "1 hour" });
  const first = await stack.up();
  assert.equal(first.exit, 0, first.stdout);
  const load = sendRequests(t, edgePorts);
  t.after(() => load.stop());
  assert.deepEqual(await releases(), all("v1"));

  await t.test("a good one: its plan in the preview, then the canary, its window, and the peers", async () => {
    await declare("v2");
    const preview = await stack.preview("--diff");
    const output = preview.stdout + preview.stderr;
    assert.match(output, /replaces v1 by v2 in place:/);
    assert.match(output, /server one of backend web drains on edges main, main, up to 5 seconds/);
    assert.match(output, /it is watched for 6 s: canary \(sli\): p95 < 500 ms, 5xx < 0\.5 %, at least 20 requests/);
    assert.match(output, /if anything fails before the end, v1 is put back, started, and gets its traffic again/);
    assert.deepEqual(await releases(), all("v1"));
    const { exit, stdout, events } = await stack.up();
    assert.equal(exit, 0, stdout);
    assert.deepEqual(
      stepsOf({ events }, "sluice:index:Pool").flatMap(({ op, urn }) =>
        op === "update" ? [urn.split("::").at(-1)] : [],
      ),
      ["web-one", "web-two", "web-three"],
    );
    assert.deepEqual(await releases(), all("v2"));
    assert.deepEqual(load.seen().failures, []);
    assert.match((await stack.preview()).stdout, /unchanged/);
  });

  await t.test("one whose migrations are pending is refused before anything is touched", async () => {
    await build("v3");
    await declare("v3", { pendingMigrations: ["sh", "-c", "echo 0042_add_index.sql is pending; exit 1"] });
    const { exit, stdout } = await stack.up();
    assert.notEqual(exit, 0);
    assert.match(stdout, /gate pending migrations: .*0042_add_index\.sql is pending/);
    assert.deepEqual(await releases(), all("v2"));
  });

  await t.test("another good one", async () => {
    await declare("v3", { pendingMigrations: ["true"] });
    const { exit, stdout } = await stack.up();
    assert.equal(exit, 0, stdout);
    assert.deepEqual(await releases(), all("v3"));
  });

  await t.test("one that answers 500 on its health path is undone at the canary", async () => {
    await build("sick", { health: 500 });
    const web = {
      policy: "proxied",
      command: [process.execPath, APP, "{{port}}"],
      health: { path: "/healthz", interval: "50 milliseconds", deadline: "2 seconds" },
    };
    await declare("sick", { processes: { web } });
    const { exit, stdout } = await stack.up();
    assert.notEqual(exit, 0);
    assert.match(stdout, /not healthy within 2 seconds: GET \/healthz answered 500/);
    assert.match(stdout, /pool\/web-one of the agent at \S+ is as it was before/);
    assert.deepEqual(await releases(), all("v3"));
  });

  await t.test("one that is healthy but serves 2 % errors is undone by the window", async () => {
    await build("flaky", { errors: 0.02 });
    await declare("flaky", { window: "1 minute" });
    const { exit, stdout } = await stack.up();
    assert.notEqual(exit, 0);
    assert.match(stdout, /gate canary: failed: 5xx /);
    assert.deepEqual(await releases(), all("v3"));
    assert.deepEqual(load.seen().failures, []);
  });

  await t.test("a rollback waits for health on each node, and for no window", async () => {
    await declare("v2", { window: "1 hour" });
    const preview = await stack.preview("--diff");
    assert.match(
      preview.stdout + preview.stderr,
      /it is a rollback to a release that has served here before: once it is healthy, it is not watched any further/,
    );
    const { exit, stdout } = await stack.up();
    assert.equal(exit, 0, stdout);
    assert.deepEqual(await releases(), all("v2"));
  });

  assert.deepEqual((await load.stop()).failures, []);
});
