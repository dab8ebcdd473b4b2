import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { answers, existingApp } from "../../agent/takeover/existing-app";
import { sendRequests } from "../../support/requests";
import { until } from "../../support/until";
import { REPOSITORY } from "../support/engine";
import { HostedStack } from "../support/hosted";

/** Errors that a client may meet while nobody listens; everything else is a failure of the takeover. */
const IN_THE_GAP = /ECONNREFUSED|ECONNRESET|socket hang up/;

test("a port is taken over from an app under load by a first release, which may fail before", async (t) => {
  const hosted = await HostedStack.create(t);
  const { stack, port, host } = hosted;
  const old = await existingApp(t);
  const command = ["node", path.join(REPOSITORY, "test", "fixtures", "engine", "app.mjs"), String(port), "old"];
  const pid = await old.start(command);
  await answers(port, "old");
  const load = sendRequests(t, [port], { atOnce: 4, pauseMs: 5 });
  const edge = (changes: object = {}) => hosted.edge({ takeover: [{ port, command }], ...changes });
  const declare = (release: string, pool: object = {}) =>
    hosted.declare({ edges: { main: edge() }, pools: { web: hosted.pool(release, pool) } });

  await t.test("a first release that is never healthy takes nothing", async () => {
    await declare("bad", {
      processes: { web: hosted.web({ health: { path: "/healthz", deadline: "1 second" } }) },
    });
    const failed = await stack.up();
    assert.notEqual(failed.exit, 0);
    assert.match(failed.stdout, /web#0 of pool web \(release bad\) not healthy within 1 second/);
    assert.deepEqual(await old.running(), [pid]);
    assert.deepEqual(load.seen().failures, []);
  });

  await t.test("a first release that fails after it has the port gives it back", async () => {
    const job = {
      policy: "singleton",
      command: ["node", "-e", "setInterval(() => {}, 1000)"],
      health: { command: ["false"], interval: "100 milliseconds", deadline: "1 second" },
    };
    await declare("v1", { processes: { web: hosted.web(), job } });
    const preview = await stack.preview("--diff");
    assert.equal(preview.exit, 0, preview.stdout);
    const shown = preview.stdout + preview.stderr;
    assert.match(shown, /http: "waiting to take over" => "open"/);
    assert.match(
      shown,
      new RegExp(`takes over port ${port}: process ${pid} \\(node .* old\\), since .*: a gap of some 100 ms`),
    );
    const failed = await stack.up();
    assert.notEqual(failed.exit, 0);
    assert.match(failed.stdout, /job of pool web \(release v1\)/);
    await answers(port, "old");
    const [again] = await old.running();
    assert.notEqual(again, pid);
    await until("nothing to be owed", () => !existsSync(path.join(host, "takeovers", "edge.main.json")));
  });

  await t.test("a holder with another command is refused by name", async () => {
    await hosted.declare({
      edges: { main: edge({ takeover: [{ port, command: ["nginx"] }] }) },
      pools: { web: hosted.pool("v1") },
    });
    const refused = await stack.preview();
    assert.notEqual(refused.exit, 0);
    assert.match(refused.stdout, /has not the command that is stated \(nginx\): is it what you mean\?/);
  });

  await t.test("a good one takes it for good, and later updates have nothing to say", async () => {
    await declare("v1");
    const up = await stack.up();
    assert.equal(up.exit, 0, up.stdout);
    assert.equal((await hosted.ask()).release, "v1");
    assert.deepEqual(await old.running(), []);
    const preview = await stack.preview("--diff");
    assert.match(preview.stdout, /7 unchanged/);
    await declare("v2");
    assert.equal((await stack.up()).exit, 0);
    await until("requests answered by v2", () => (load.seen().answers["v2 200"] ?? 0) > 20);
  });

  const { answers: seen, failures } = await load.stop();
  t.diagnostic(`${JSON.stringify(seen)}, ${failures.length} refused in the gaps of two takeovers and one way back`);
  assert.deepEqual(Object.keys(seen).toSorted(), ["old 200", "v1 200", "v2 200"]);
  assert.deepEqual(
    failures.filter((failure) => !IN_THE_GAP.test(failure)),
    [],
  );
});
