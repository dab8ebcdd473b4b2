import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test, { type TestContext } from "node:test";
import { allStats } from "../../../src/agent/processes/identity";
import { until } from "../../support/until";
import { stepsOf } from "../support/engine";
import { HostedStack } from "../support/hosted";

const POOL = "sluice:index:Pool";
const SECRET = "hunter2-hunter2";

/** Process ids of a pool's processes by key, of the release that serves. */
async function pids({ client }: HostedStack): Promise<Record<string, number | undefined>> {
  const processes = (await client.pool("web"))?.processes ?? [];
  return Object.fromEntries(processes.filter(({ current }) => current).map(({ key, pid }) => [key, pid]));
}

test("a release is promoted, fails, is rolled back, and its preview says what will happen", async (t) => {
  const hosted = await HostedStack.create(t);
  const { stack } = hosted;
  const declare = (...pool: Parameters<HostedStack["pool"]>) =>
    hosted.declare({ edges: { main: hosted.edge() }, pools: { web: hosted.pool(...pool) } });

  await t.test("a first update brings it up", async () => {
    await declare("v1");
    const preview = await stack.preview();
    assert.equal(preview.exit, 0);
    assert.match(preview.stdout, /starts release v1: web#0/);
    assert.equal((await stack.up()).exit, 0);
    assert.equal((await hosted.ask()).release, "v1");
    assert.match((await stack.preview()).stdout, /7 unchanged/);
  });

  await t.test("a preview shows a promotion, and an update does it", async () => {
    await declare("v2");
    const preview = await stack.preview("--diff");
    assert.equal(preview.exit, 0);
    assert.match(preview.stdout, /~ live +: {\n +~ release: "v1" => "v2"/);
    assert.match(preview.stdout + preview.stderr, /promotes v1 -> v2, side by side: web#0 start/);
    assert.equal((await hosted.ask()).release, "v1");
    assert.equal((await stack.up()).exit, 0);
    assert.equal((await hosted.ask()).release, "v2");
  });

  await t.test("a release that never becomes healthy fails with its last output, and the old one stays", async () => {
    const before = await pids(hosted);
    await declare("bad", {}, { health: { path: "/healthz", interval: "50 milliseconds", deadline: "1 second" } });
    const failed = await stack.up();
    assert.notEqual(failed.exit, 0);
    assert.match(
      failed.stdout,
      /web#0 of pool web \(release bad\) not healthy within 1 second: GET \/healthz answered 503/,
    );
    assert.match(failed.stdout, /\| error: bad has no database\n/);
    assert.match(failed.stdout, /pool\/web is as it was before: the change was undone/);
    assert.deepEqual((await hosted.recorded("Pool"))[0]?.inputs?.release, hosted.release("v2"));
    assert.deepEqual((await stack.state()).pendingOperations, []);
    assert.deepEqual(await pids(hosted), before);
    assert.equal((await hosted.ask()).release, "v2");
  });

  await t.test("a rollback is a promotion of the old release", async () => {
    await declare("v1");
    assert.equal((await stack.up()).exit, 0);
    assert.equal((await hosted.ask()).release, "v1");
  });

  await t.test("a missing release folder is refused at the preview, with the releases that are kept", async () => {
    await declare("v9");
    const { exit, stdout } = await stack.preview();
    assert.notEqual(exit, 0);
    assert.match(
      stdout,
      /release\.path: .*releases\/v9 of release v9 does not exist: .*; releases kept on this host: v2 \(.*releases\/v2\)/,
    );
  });

  await t.test("an unknown template is refused at the preview", async () => {
    await declare("v1", {}, { command: ["node", "app.mjs", "{{prot}}"] });
    const { exit, stdout } = await stack.preview();
    assert.notEqual(exit, 0);
    assert.match(stdout, /processes\.web\.command\[2\]: .*{{prot}}/);
  });

  await t.test("a release path that a preview does not know is shown as that", async () => {
    const release = { id: "v2", path: { $later: hosted.release("v2").path } };
    await declare("v2", { release });
    const preview = await stack.preview("--diff");
    assert.equal(preview.exit, 0, preview.stdout);
    assert.match(preview.stdout, /~ path *: ".*" => \[unknown\]/);
    assert.equal((await stack.up()).exit, 0);
    assert.equal((await hosted.ask()).release, "v2");
  });

  await t.test("replicas scale live: those that stay keep their processes", async () => {
    const [one] = [await pids(hosted)];
    await declare("v2", {}, { replicas: 3 });
    const preview = await stack.preview("--diff");
    assert.match(preview.stdout + preview.stderr, /web: 1 -> 3 replicas, live/);
    assert.equal((await stack.up()).exit, 0);
    const three = await pids(hosted);
    assert.deepEqual(Object.keys(three).sort(), ["web#0", "web#1", "web#2"]);
    assert.equal(three["web#0"], one["web#0"]);
    await declare("v2", {}, { replicas: 1 });
    assert.equal((await stack.up()).exit, 0);
    await hosted.client.settle("web");
    assert.deepEqual(await pids(hosted), one);
  });

  await t.test("what was changed by hand shows in the preview, and an update mends it", async () => {
    const [server] = Object.entries((await hosted.client.edge("main"))?.observed.backends.web ?? {}).find(
      ([, { leavingUntil }]) => leavingUntil === undefined,
    ) ?? [""];
    await hosted.haproxy(`set server web/${server} state maint`);
    await hosted.haproxy(`set server web/${server} weight 7`);
    const preview = await stack.preview("--diff");
    assert.match(preview.stdout, /~ web#0: {\n +~ state *: "maint" => "ready"\n +~ weight *: 7 => 100/);
    assert.deepEqual(
      stepsOf(preview, POOL).map(({ op }) => op),
      ["refresh", "update"],
    );
    const before = await pids(hosted);
    assert.equal((await stack.up()).exit, 0);
    assert.deepEqual(await pids(hosted), before);
    assert.equal((await hosted.ask()).release, "v2");
    assert.match((await stack.preview()).stdout, /7 unchanged/);
  });

  await t.test("a destroy drains, and leaves nothing running", async () => {
    assert.equal((await stack.destroy()).exit, 0);
    await assert.rejects(hosted.ask(), /ECONNREFUSED/);
    const left = (await allStats()).filter(({ pid }) => commandLine(pid).includes(hosted.host));
    assert.deepEqual(left, []);
  });
});

test("a promotion that is interrupted, or that another one is in the way of, changes nothing", async (t) => {
  const hosted = await HostedStack.create(t);
  const { stack } = hosted;
  const declare = (on: HostedStack, id: string, web: object = {}) =>
    on.declare({ edges: { main: hosted.edge() }, pools: { web: hosted.pool(id, {}, web) } });
  await declare(hosted, "v1");
  assert.equal((await stack.up()).exit, 0);
  const slow = { health: { path: "/healthz", interval: "50 milliseconds", deadline: "1 minute" } };

  await t.test("Ctrl-C undoes it, and the old state stays recorded", async () => {
    await declare(hosted, "bad", slow);
    const up = stack.start("up");
    const runs = async () => (await hosted.client.status()).transactions.length === 1;
    await until("the promotion to run", runs, { deadlineMs: 120_000 });
    up.signal("SIGINT");
    const { exit, stdout } = await up.finished;
    assert.notEqual(exit, 0);
    assert.match(stdout, /error: cancelled\n/);
    assert.match(stdout, /pool\/web is as it was before/);
    assert.deepEqual((await stack.state()).pendingOperations, []);
    assert.deepEqual((await hosted.recorded("Pool"))[0]?.inputs?.release, hosted.release("v1"));
    assert.deepEqual((await hosted.client.status()).transactions, []);
    assert.equal((await hosted.ask()).release, "v1");
  });

  await t.test("a second promotion is refused with who holds the pool, and since when", async () => {
    const owner = { who: "ana@build-7", why: "a promotion by hand", pid: process.pid };
    const { id, since } = await hosted.client.begin({ target: "pool/web", owner, leaseMs: 60_000 });
    await declare(hosted, "v2");
    const { exit, stdout } = await stack.up();
    assert.notEqual(exit, 0);
    assert.ok(stdout.includes("pool/web is held: a transaction of ana@build-7"), stdout);
    assert.ok(stdout.includes(since), stdout);
    await hosted.client.abort(id, "the test goes on");
    assert.equal((await hosted.ask()).release, "v1");
  });

  await t.test("without its agent a preview goes on with what was recorded, and an update fails at once", async () => {
    const { pid, socket } = await hosted.client.about();
    await hosted.client.shutdown({ restart: false });
    await until("the agent to be gone", async () => (await allStats()).every((stat) => stat.pid !== pid));
    await declare(hosted, "v2");
    const preview = await stack.preview("--diff");
    assert.equal(preview.exit, 0, preview.stdout + preview.stderr);
    assert.match(preview.stdout, /~ release: "v1" => "v2"/);
    assert.ok((preview.stdout + preview.stderr).includes(`the agent at ${socket} can't be reached`));
    assert.equal((await hosted.ask()).release, "v1");
  });

  await t.test("an update starts an agent that does not run, which adopts what runs", async () => {
    const before = (await hosted.ask()).pid;
    await declare(hosted, "v1");
    assert.equal((await stack.up()).exit, 0);
    assert.equal((await hosted.ask()).pid, before);
    assert.equal((await hosted.client.pool("web"))?.live.processes["web#0"], "running");
  });
});

test("secrets in the environment reach the process and nobody else; another value is a new release", async (t: TestContext) => {
  const hosted = await HostedStack.create(t);
  const { stack } = hosted;
  const declare = (token: string) =>
    hosted.declare({
      edges: { main: hosted.edge() },
      pools: {
        web: hosted.pool(
          "v1",
          {},
          {
            env: { TOKEN: { $secret: token }, READ: { $secret: `${token}-read` }, PUBLIC: "plain" },
            secrets: { READ: { fd: 3 } },
          },
        ),
      },
    });
  const outputs: string[] = [];
  const run = async (verb: "preview" | "up", ...args: string[]) => {
    const { exit, stdout, stderr } = await stack[verb](...args);
    assert.equal(exit, 0, stdout);
    outputs.push(stdout, stderr);
  };
  await declare(SECRET);
  await run("up");
  assert.equal((await hosted.ask("/token")).text, SECRET);
  const first = (await hosted.ask()).pid;
  await run("up");
  assert.equal((await hosted.ask()).pid, first);

  await declare(`${SECRET}-2`);
  await run("preview", "--diff");
  await run("up");
  assert.equal((await hosted.ask("/token")).text, `${SECRET}-2`);
  assert.notEqual((await hosted.ask()).pid, first);

  const exported = JSON.stringify(await stack.state());
  assert.ok(exported.includes("plain") && exported.includes("ciphertext"));
  const commands = (await allStats()).map(({ pid }) => commandLine(pid)).join("\n");
  for (const [where, text] of Object.entries({
    "the stack's state": exported,
    "what pulumi printed": outputs.join("\n"),
    "the agent's files": await hosted.onDisk(),
    "process listings": commands,
    "the agent's answers": JSON.stringify(await hosted.client.status()),
  }))
    assert.ok(!text.includes(SECRET), `the secret is in ${where}`);
});

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").join(" ");
  } catch {
    // It has ended.
    return "";
  }
}
