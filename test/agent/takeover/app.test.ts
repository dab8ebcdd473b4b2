import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { startTestAgent } from "../../support/agent";
import { freePorts } from "../../support/ports";
import { type AppOptions, change, freeRange, OWNER, promote, releaseFolder, startStep } from "../support/pool";
import { answers, ask, oldWorld, takingEdge } from "./old-world";

/** An agent beside an app that has the port. */
async function beside(t: TestContext, env: Record<string, string> = {}) {
  const old = await oldWorld(t);
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
  assert.equal(takeover?.[1], "the edge listens once every frontend's backend has a server");
  await change(client, "edge/main", [step]);
  assert.equal((await ask(port)).release, "old");
  const waiting = await client.edge("main");
  assert.deepEqual(waiting?.live.frontends, { http: "waiting to take over" });
  assert.match(waiting?.live.takeover?.[`port ${port}`] ?? "", new RegExp(`^process ${pid} .* runs$`));

  await promote(client, options);
  assert.equal((await ask(port)).release, "v1");
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
  // It never becomes healthy: nothing was taken.
  const broken = startStep({ ...options, env: { PORT_IS_WRONG: "1" } });
  const { id } = await client.begin({ target: "pool/web", owner: OWNER, leaseMs: 60_000 });
  await client.step(id, startStep(options), () => undefined);
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
  void broken;
});
