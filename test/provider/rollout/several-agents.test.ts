import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import test, { type TestContext } from "node:test";
import { send } from "../../../src/agent/processes/identity";
import { backendSpec } from "../../../src/model/edge/backend";
import { edgeSpec } from "../../../src/model/edge/edge";
import { type DeclaredRouteInput, declaredRoute } from "../../../src/model/route/route";
import { rollOutRoute } from "../../../src/provider/rollout/route-rollout";
import type { RunGates } from "../../../src/provider/rollout/stage-gates";
import type { Context } from "../../../src/provider/server";
import { startTestAgent, type TestAgent } from "../../support/agent";
import { freePorts } from "../../support/ports";
import { startServer } from "../../support/server";
import { until } from "../../support/until";

const owner = { who: "test", why: "test", pid: process.pid };

async function edge(t: TestContext, port: number): Promise<TestAgent> {
  const agent = await startTestAgent(t);
  const { client } = agent;
  const http = { binds: [{ port: await freePorts(1) }], defaultBackend: "blue" };
  const { id } = await client.begin({ target: "edge/main", owner, leaseMs: 60_000 });
  const spec = edgeSpec.parse({ frontends: { http } });
  await client.step(id, { verb: "edge.set", edge: "main", spec }, () => undefined);
  await client.commit(id);
  for (const backend of ["blue", "green"]) {
    const { id } = await client.begin({ target: `backend/main/${backend}`, owner, leaseMs: 60_000 });
    const spec = backendSpec.parse({ servers: { one: { address: "127.0.0.1", port } } });
    await client.step(id, { verb: "backend.set", edge: "main", backend, spec }, () => undefined);
    await client.commit(id);
  }
  return agent;
}

function declare(stage: string, more: Partial<DeclaredRouteInput> = {}) {
  return declaredRoute.parse({ edges: ["main"], stable: "blue", candidate: "green", stage, ...more });
}

function contextOf(messages: string[] = []): Context {
  const say = (text: string) => messages.push(text);
  const log = { debug: say, info: say, warn: say, error: say, progress: say };
  const { signal } = new AbortController();
  return { urn: "urn:route", name: "api", type: "x", preview: false, signal, log, secrets: [] };
}

test("a route's edges on two agents move in step", async (t) => {
  const { port } = await startServer(t, (_, response) => response.end());
  const [one, two] = await Promise.all([edge(t, port), edge(t, port)]);
  const agents = [one, two].map(({ client }) => ({ client, edges: ["main"] }));
  const splits = () =>
    Promise.all([one, two].map(async ({ client }) => (await client.route("api"))?.splits.main ?? undefined));
  const committed = () => Promise.all([one, two].map(async ({ client }) => (await client.route("api"))?.committed));
  const rollout = (stage: string, runGates: RunGates, messages?: string[]) =>
    rollOutRoute(agents, "api", declare(stage), contextOf(messages), { runGates });
  const seen: unknown[] = [];
  const look: RunGates = async ({ name }, { edges }) => {
    seen.push([name, edges.length, ...(await splits())]);
  };

  await t.test("up, each stage on all of them, and gates look at all edges", async () => {
    await rollout("10%", look);
    assert.deepEqual(seen.splice(0), [
      ["1%", 2, 100, 100],
      ["10%", 2, 1000, 1000],
    ]);
    assert.deepEqual(await committed(), [1000, 1000]);
  });

  await t.test("a breach undoes it on all", async () => {
    const breach = rollout("100%", async () => {
      assert.deepEqual(await splits(), [5000, 5000]);
      throw new Error("5xx 2 % > 0.5 %");
    });
    await assert.rejects(breach, (error: Error) => {
      assert.equal(error.message.match(/route\/api of the agent at \S+ is as it was before/g)?.length, 2);
      return true;
    });
    assert.deepEqual(await splits(), [1000, 1000]);
  });

  await t.test("one that is held elsewhere refuses it before anything changes", async () => {
    const { id } = await two.client.begin({
      target: "route/api",
      owner: { ...owner, who: "ana@home" },
      leaseMs: 60_000,
    });
    await assert.rejects(rollout("100%", look), /held: a transaction of ana@home.*\nNothing was changed\.$/s);
    assert.deepEqual(await splits(), [1000, 1000]);
    assert.equal((await one.client.status()).transactions.length, 0);
    await two.client.abort(id, "the test is done with it");
  });

  await t.test("one whose step can't be done refuses it before another one has changed", async () => {
    const refused = rollOutRoute(agents, "api", declare("50%", { match: { frontends: ["other"] } }), contextOf(), {
      runGates: look,
    });
    await assert.rejects(refused, /other is not a frontend of edge main/);
    assert.deepEqual(seen.splice(0), []);
    assert.deepEqual(await splits(), [1000, 1000]);
    assert.deepEqual((await one.client.route("api"))?.spec.match, { headers: {} });
  });

  await t.test("the death of one agent in the middle of a rollout takes all of them back", async () => {
    const kill: RunGates = async (_stage, { signal }) => {
      send(two.about.pid, "SIGKILL");
      await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
    };
    await assert.rejects(rollout("100%", kill), /is as it was before/);
    await until("both edges at 10% again", async () => {
      return (await splits()).every((split) => split === 1000);
    });
    assert.deepEqual(await committed(), [1000, 1000]);
  });

  await t.test("an update that dies between two commits leaves what the next one ends", async () => {
    const deployer = spawn(
      process.execPath,
      [...process.execArgv, `${__dirname}/../support/half-commit.ts`, one.socket, two.socket],
      {
        stdio: ["ignore", "inherit", "inherit"],
      },
    );
    const died = new Promise((resolve) => deployer.on("exit", (_code, signal) => resolve(signal)));
    t.after(() => deployer.kill("SIGKILL"));
    assert.equal(await died, "SIGKILL");
    await until("the other agent to have undone its part", async () => {
      return (await two.client.status()).transactions.length === 0 && (await splits())[1] === 1000;
    });
    assert.deepEqual(await committed(), [5000, 1000]);

    const messages: string[] = [];
    await rollout("50%", look, messages);
    assert.deepEqual(seen.splice(0), [["50%", 2, 5000, 5000]]);
    assert.deepEqual(await committed(), [5000, 5000]);
    assert.ok(messages.some((text) => text.startsWith("the candidate was taken from 50% to 10%")));
  });

  await t.test("a commit that fails takes back what another agent has committed", async () => {
    const commit = two.client.commit.bind(two.client);
    t.mock.method(two.client, "commit", async (id: string) => {
      await two.client.abort(id, "its lease ran out");
      return commit(id);
    });
    await assert.rejects(rollout("100%", look), (error: Error) => {
      assert.match(error.message, /its lease ran out/);
      assert.match(error.message, /was committed already, and was put back to what it was before/);
      return true;
    });
    assert.deepEqual(await committed(), [5000, 5000]);
  });
});

test("a dead agent refuses a rollout before any change", async (t) => {
  const { port } = await startServer(t, (_, response) => response.end());
  const [one, two] = await Promise.all([edge(t, port), edge(t, port)]);
  const agents = [one, two].map(({ client }) => ({ client, edges: ["main"] }));
  send(two.guard, "SIGKILL");
  send(two.about.pid, "SIGKILL");
  const rollout = rollOutRoute(agents, "api", declare("10%"), contextOf(), {
    runGates: async () => assert.fail("a gate"),
  });
  await assert.rejects(rollout, /can't be reached/);
  assert.equal(await one.client.route("api"), undefined);
});
