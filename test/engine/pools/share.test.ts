import assert from "node:assert/strict";
import test from "node:test";
import type { GateInput } from "../../../src/model/gate/gate";
import { startLoad } from "../../load/load";
import { HostedStack } from "../support/hosted";

const interval = "300 milliseconds";
const SECRET = "not-to-be-seen-anywhere";
const errors: GateInput = { kind: "sli", name: "errors", interval, thresholds: ["5xx < 0.5 %"], minRequests: 5 };

test("a pool's candidate goes through its stages, breaches, and becomes the stable release without a restart", async (t) => {
  const hosted = await HostedStack.create(t);
  const { stack, client } = hosted;
  /** Parts that are the candidate's own: an artifact, and a secret in its environment. */
  const next = {
    artifact: hosted.release("v2").path,
    release: { id: "v2" },
    processes: { web: hosted.web({ env: { TOKEN: { $secret: SECRET } } }) },
  };
  const declarePool = (pool: object) =>
    hosted.declare({ edges: { main: hosted.edge({ meter: true }) }, pools: { web: pool } });
  const declare = (stage: string, { at, ...more }: { at?: string; gates?: object[]; onBreach?: string } = {}) => {
    const { gates, ...rest } = more;
    const broken = (split: string) => (split === at ? { gates } : {});
    const stages = [
      { split: "1%", window: "0 seconds" },
      { split: "10%", window: "8 seconds", gates: [errors], ...broken("10%") },
      { split: "50%", window: "0 seconds", gates: [{ kind: "command", command: ["true"] }] },
      { split: "100%", window: "0 seconds", ...broken("100%") },
    ];
    return declarePool(hosted.pool("v1", { canary: { ...next, stages, stage, ...rest } }));
  };
  const red = [{ kind: "command", command: ["false"] }];
  const now = async () => (await client.pool("web"))?.candidate?.now;
  const pids = async () => {
    const all = (await client.pool("web"))?.processes ?? [];
    return Object.fromEntries(all.filter(({ state }) => state === "running").map(({ release, pid }) => [release, pid]));
  };

  await declare("stable");
  const first = await stack.up();
  assert.equal(first.exit, 0, first.stdout);
  assert.deepEqual(Object.keys(await pids()), ["v1"]);
  const mix = { rate: 60, connections: 16, postShare: 0, slow: 0, websockets: 0, streams: 0 };
  const load = startLoad({ host: "127.0.0.1", port: hosted.port, mix, timeoutMs: 120_000 });
  t.after(() => load.stop());

  await t.test("a breach at 10% leaves nothing of it", async () => {
    await declare("50%", { at: "10%", gates: red });
    const failed = await stack.up();
    assert.notEqual(failed.exit, 0);
    assert.match(failed.stdout, /stage 10% of the candidate of pool web: /);
    await client.settle("web");
    assert.deepEqual([Object.keys(await pids()), await now()], [["v1"], undefined]);
  });

  await t.test("a preview says the stages, and an update goes through them", async () => {
    await declare("50%");
    const { stdout, stderr } = await stack.preview();
    assert.match(stdout + stderr, /starts release v2 beside it as its candidate, with its own web/);
    assert.match(stdout + stderr, /from 0% to 50% of the requests in 3 stages, at least 8 s in all:/);
    const up = await stack.up();
    assert.equal(up.exit, 0, up.stdout);
    const messages = up.events.flatMap(({ diagnosticEvent }) => diagnosticEvent?.message ?? "").join("\n");
    assert.match(messages, /stage 10%: watching .*5xx 0 % < 0.5 %/);
    assert.equal(await now(), 5000);
    const [recorded] = await hosted.recorded("Pool");
    assert.deepEqual(recorded?.inputs?.change, {
      kind: "promotion",
      from: "v1",
      to: "v1",
      order: ["v1"],
      candidate: { release: "v2", from: "0%", to: "50%" },
    });
    assert.ok(!(JSON.stringify(recorded) + (await hosted.onDisk())).includes(SECRET));
    assert.match((await stack.preview()).stdout, /7 unchanged/);
  });

  const before = await pids();

  await t.test("a breach leaves it where it was", async () => {
    await declare("100%", { at: "100%", gates: red });
    const failed = await stack.up();
    assert.notEqual(failed.exit, 0);
    assert.match(failed.stdout, /stage 100% of the candidate of pool web: /);
    assert.equal(await now(), 5000);
    assert.deepEqual(await pids(), before);
  });

  await t.test("a share that was changed by hand shows in the preview", async () => {
    await declare("50%");
    const { generation = 0 } = (await client.pool("web"))?.candidate ?? {};
    await hosted.haproxy(`set map splits.map web.candidate/${generation - 1}/${generation} 100`);
    const preview = await stack.preview("--diff");
    assert.match(preview.stdout, /~ split *: "1%" => "50%"/);
    assert.equal((await stack.up()).exit, 0);
    assert.equal(await now(), 5000);
  });

  await t.test("onBreach ends its trial, which the next preview says, and the next update begins anew", async () => {
    await declare("100%", { at: "100%", gates: red, onBreach: "stable" });
    const failed = await stack.up();
    assert.match(failed.stdout, /Then all requests of pool web went to its release, as onBreach says/);
    await client.settle("web");
    assert.deepEqual(Object.keys(await pids()), ["v1"]);
    await declare("100%");
    const { stdout, stderr } = await stack.preview("--diff");
    assert.match(stdout + stderr, /v2 was withdrawn at .*, since stage 100% of the candidate of pool web: /);
    assert.match(stdout + stderr, /from 0% to 100% of the requests in 4 stages/);
    const up = await stack.up();
    assert.equal(up.exit, 0, up.stdout);
    assert.equal(await now(), 10_000);
  });

  await t.test("finishing restarts nothing and fails no request", async () => {
    const before = await pids();
    await declarePool(hosted.pool("v2", next));
    const { stdout, stderr } = await stack.preview();
    assert.match(stdout + stderr, /makes the candidate v2 the stable release with the processes that it has/);
    const up = await stack.up();
    assert.equal(up.exit, 0, up.stdout);
    await client.settle("web");
    assert.deepEqual(await pids(), { v2: before.v2 });
    assert.equal((await hosted.ask()).release, "v2");
    assert.match((await stack.preview()).stdout, /7 unchanged/);
  });

  await t.test("the old config is the way back", async () => {
    await declarePool(hosted.pool("v1"));
    const up = await stack.up();
    assert.equal(up.exit, 0, up.stdout);
    await client.settle("web");
    assert.deepEqual(Object.keys(await pids()), ["v1"]);
    const { failed, failures } = await load.stop();
    assert.equal(failed, 0, JSON.stringify(failures));
    assert.match((await stack.preview()).stdout, /7 unchanged/);
  });
});
