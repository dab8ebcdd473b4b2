import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import path from "node:path";
import test from "node:test";
import { until } from "../../support/until";
import { REPOSITORY } from "../support/engine";
import { HostedStack } from "../support/hosted";

const APP = path.join(REPOSITORY, "test", "fixtures", "engine", "app.mjs");

test("a service that is down is mended by the release that does, and by a rollback", async (t) => {
  const hosted = await HostedStack.create(t);
  const { stack } = hosted;
  const port = hosted.port + 11;
  const broker = {
    policy: "service",
    port,
    command: `test -e {{release.path}}/sound || { echo no disk; exit 3; }; exec node ${APP} ${port} {{release.id}}`,
    shell: true,
    health: { tcp: true, interval: "50 milliseconds" },
    restart: { delay: "10 milliseconds", maxRestarts: 1 },
  };
  const worker = {
    policy: "companion",
    command: ["/bin/bash", "-c", `: </dev/tcp/127.0.0.1/${port} && exec sleep 1000`],
  };
  const declare = (id: string) => {
    const processes = { web: hosted.web(), broker, worker };
    return hosted.declare({ edges: { main: hosted.edge() }, pools: { web: hosted.pool(id, { processes }) } });
  };
  const brokerNow = async () => (await hosted.client.pool("web"))?.processes.find(({ key }) => key === "broker");
  const sound = (id: string) => path.join("releases", id, "sound");
  const breakdown = async (id: string) => {
    await rm(path.join(stack.folder, sound(id)));
    process.kill((await brokerNow())?.pid ?? 0, "SIGKILL");
    await until("the broker to have failed", async () => (await brokerNow())?.state === "failed");
  };
  const run = async (verb: "preview" | "up") => {
    const { stdout, stderr, exit } = await stack[verb]();
    return { text: stdout + stderr, exit };
  };

  await stack.write(sound("v1"), "");
  await declare("v1");
  assert.equal((await run("up")).exit, 0);
  await breakdown("v1");

  await declare("v2");
  const preview = await run("preview");
  assert.match(preview.text, /promotes v1 -> v2/);
  assert.match(preview.text, / broker is down \(failed\): v2's template starts it\n/);
  const failed = await run("up");
  assert.notEqual(failed.exit, 0);
  assert.match(failed.text, /broker of pool web \(release v2\) exited with code 3; its last output:\n +\| no disk/);
  assert.match(failed.text, /pool\/web is as it was before: the change was undone/);
  assert.deepEqual([(await brokerNow())?.state, (await brokerNow())?.release], ["failed", "v1"]);
  assert.equal((await hosted.ask()).release, "v1");

  await stack.write(sound("v2"), "");
  const repaired = await run("up");
  assert.equal(repaired.exit, 0, repaired.text);
  assert.deepEqual([(await brokerNow())?.state, (await brokerNow())?.release], ["running", "v2"]);
  assert.equal((await hosted.ask()).release, "v2");

  await breakdown("v2");
  await stack.write(sound("v1"), "");
  await declare("v1");
  const back = await run("up");
  assert.equal(back.exit, 0, back.text);
  assert.deepEqual([(await brokerNow())?.state, (await brokerNow())?.release], ["running", "v1"]);
  assert.equal((await hosted.ask()).release, "v1");
});
