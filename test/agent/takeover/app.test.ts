import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startTestAgent } from "../../support/agent";
import { freePorts, freeRange } from "../../support/ports";
import { change, OWNER } from "../../support/transaction";
import { type AppOptions, promote, releaseFolder, startStep } from "../support/pool";
import { answers, ask, existingApp, takingEdge } from "./existing-app";

/** An agent beside an app that has the port. */
async function beside(t: TestContext, env: Record<string, string> = {}) {
  const old = await existingApp(t);
  const port = await freePorts(1);
  const pid = await old.start(old.app(port), env);
  await answers(port, "old");
  const agent = await startTestAgent(t);
  const options: AppOptions = {
    path: await releaseFolder(agent.directory),
    ports: await freeRange(4),
    release: "v1",
  };
  const ledger = join(agent.directory, "takeovers", "edge.main.json");
  return { old, port, pid, options, ledger, ...agent };
}

/** The first answer that is not the existing app's, and how long before it nobody answered, in milliseconds. */
async function watchGap(port: number): Promise<{ next: string; gapMs: number }> {
  let last = performance.now();
  for (;;) {
    const release = await ask(port).then(
      (answer) => answer.release,
      () => undefined,
    );
    if (release === "old") last = performance.now();
    else if (release !== undefined) return { next: release, gapMs: performance.now() - last };
    await sleep(2);
  }
}

test("an edge waits for its first release, and takes the port from an app at that moment", async (t) => {
  const { old, port, pid, options, ledger, client } = await beside(t);
  const step = takingEdge(port, [{ port, command: old.app(port) }]);
  const { takeover } = await client.plan(step);
  assert.match(
    takeover?.[0] ?? "",
    new RegExp(
      `^takes over port ${port}: process ${pid} \\(.*old app.cjs.*\\), since 20.*Z \\(SIGTERM\\); it ends once the edge can serve, which then listens on 127.0.0.1:${port}: a gap of some 100 ms$`,
    ),
  );
  assert.match(
    takeover?.[1] ?? "",
    new RegExp(`^process ${pid} was started by process ${process.pid} \\(.*\\): if that would`),
  );
  assert.equal(takeover?.[2], "the edge listens once every frontend's backend has a server");
  await change(client, "edge/main", [step]);
  assert.equal((await ask(port)).release, "old");
  const waiting = await client.edge("main");
  assert.deepEqual(waiting?.live.frontends, { http: "waiting to take over" });
  assert.match(waiting?.live.takeover?.[`port ${port}`] ?? "", new RegExp(`^process ${pid} .* runs$`));

  const watched = watchGap(port);
  await promote(client, options);
  assert.equal((await ask(port)).release, "v1");
  const { next, gapMs } = await watched;
  t.diagnostic(`nobody answered for ${Math.round(gapMs)} ms`);
  assert.equal(next, "v1");
  assert.deepEqual(await old.running(), []);
  assert.deepEqual((await client.edge("main"))?.live, {
    haproxy: "running",
    config: "as declared",
    frontends: { http: "open" },
    takeover: { [`port ${port}`]: "taken over" },
  });
  await answers(port, "v1");
  assert.ok(!existsSync(ledger));
  // Later changes have nothing to take over, and nothing against that.
  assert.deepEqual(await client.check(step), []);
  await change(client, "edge/main", [step]);
  await promote(client, { ...options, release: "v2" });
  assert.equal((await ask(port)).release, "v2");
});

test("a first release that fails leaves the app alone, or gives its port back", async (t) => {
  const { old, port, pid, options, ledger, client } = await beside(t);
  await change(client, "edge/main", [takingEdge(port, [{ port }])]);
  const { id } = await client.begin({ target: "pool/web", owner: OWNER, leaseMs: 60_000 });
  await client.step(id, startStep(options), () => undefined);
  // A failure up to here has taken nothing over.
  assert.deepEqual(await old.running(), [pid]);
  await client.step(id, { verb: "pool.switch", pool: "web" }, () => undefined);
  assert.equal((await ask(port)).release, "v1");
  assert.deepEqual(await old.running(), []);
  assert.ok(existsSync(ledger));
  await client.abort(id, "test");
  const back = await ask(port);
  assert.equal(back.release, "old");
  const [again = 0] = await old.running();
  assert.notEqual(again, pid);
  assert.equal(back.body, `${again} ${old.folder} kept`);
  assert.ok(!existsSync(ledger));
  assert.deepEqual((await client.edge("main"))?.live.frontends, { http: "waiting to take over" });
});

test("a supervisor is taken over with its children, and both come back once", async (t) => {
  const old = await existingApp(t);
  const port = await freePorts(1);
  const loop = 'while :; do "$0" "$@"; sleep 0.1; done';
  const supervisor = ["/bin/sh", "-c", loop, ...old.app(port)];
  const pid = await old.start(supervisor);
  await answers(port, "old");
  const { client, directory } = await startTestAgent(t);
  const step = takingEdge(port, [{ command: supervisor }, { port }]);
  const { takeover = [] } = await client.plan(step);
  assert.ok(!takeover.some((line) => line.includes(`started by process ${pid} `)), takeover.join("\n"));
  const alone = await client.plan(takingEdge(port, [{ port }]));
  assert.match(
    alone.takeover?.[1] ?? "",
    new RegExp(`was started by process ${pid} \\(/bin/sh -c .*\\): if that would start it again, name it, too$`),
  );
  await change(client, "edge/main", [step]);
  const options = { path: await releaseFolder(directory), ports: await freeRange(4), release: "v1" };
  const { id } = await client.begin({ target: "pool/web", owner: OWNER, leaseMs: 60_000 });
  await client.step(id, startStep(options), () => undefined);
  await client.step(id, { verb: "pool.switch", pool: "web" }, () => undefined);
  await answers(port, "v1");
  assert.deepEqual(await old.running(), []);
  await client.abort(id, "test");
  await answers(port, "old");
  assert.equal((await old.running()).length, 2);
});
