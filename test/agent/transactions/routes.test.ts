import assert from "node:assert/strict";
import { mkdir, rm, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { findHaproxy } from "../../../src/agent/haproxy/config/version";
import { ask } from "../../../src/agent/haproxy/runtime/runtime-api";
import { send } from "../../../src/agent/processes/identity";
import { type RouteInput, routeSpec } from "../../../src/model/route/route";
import { endEverything, startTestAgent, type TestAgent, temporaryFolder } from "../../support/agent";
import { namedServers, setRoute, startHarness } from "../../support/harness";
import { OWNER } from "../../support/transaction";
import { until } from "../../support/until";

const EDGES = ["left", "right"];
const KEY = "api/blue/green";

const route = (split: number) => setRoute(split, { edges: EDGES });

/** An agent with two edges, each with the backends blue and green. */
async function twoEdges(t: TestContext) {
  const agent = await startHarness(t, { edges: EDGES, backends: await namedServers(t, "blue", "green") });
  const { change, answers } = agent;
  return { agent, change, answers, splits: async () => (await agent.client.route("api"))?.splits };
}

async function masterOf(agent: TestAgent, edge: string): Promise<number> {
  return (await agent.client.edge(edge))?.observed.master ?? 0;
}

test("the edges of a route move in step, and an abort, a lost lease or the agent's death puts all of them back", async (t) => {
  const { agent, change, answers, splits } = await twoEdges(t);
  const { client } = agent;
  await change("route/api", route(0));
  assert.deepEqual(await splits(), { left: 0, right: 0 });
  const since = async () => (await client.route("api"))?.since ?? 0;
  const made = await since();
  assert.ok(made > 0 && made <= Date.now());

  const aborted = await client.begin({ target: "route/api", owner: OWNER, leaseMs: 60_000 });
  await client.step(aborted.id, route(10_000), () => undefined);
  assert.deepEqual(await splits(), { left: 10_000, right: 10_000 });
  assert.deepEqual(await answers(), ["green", "green"]);
  await client.abort(aborted.id, "a gate failed");
  assert.deepEqual(await answers(), ["blue", "blue"]);

  const lost = await client.begin({ target: "route/api", owner: OWNER });
  await client.step(lost.id, route(10_000), () => undefined);
  await until("the lease has run out", async () => (await client.transaction(lost.id)).state === "undone");
  assert.deepEqual(await splits(), { left: 0, right: 0 });
  assert.deepEqual(await answers(), ["blue", "blue"]);

  const killed = await client.begin({ target: "route/api", owner: OWNER, leaseMs: 60_000 });
  await client.step(killed.id, route(10_000), () => undefined);
  send(agent.about.pid, "SIGKILL");
  await until("the next agent has put it back", async () =>
    (await Promise.all(EDGES.map((edge) => splitIn(agent, edge)))).every((split) => split === 0),
  );
  assert.deepEqual(await answers(), ["blue", "blue"]);
  // It puts back before it listens.
  await until("the next agent answers", () => client.about().catch(() => undefined), { deadlineMs: 60_000 });
  // It has been held for all that time: what was undone did not change it, and neither does the same once more.
  await change("route/api", route(0));
  assert.equal(await since(), made);

  await change("route/api", route(10_000));
  assert.ok((await since()) > made);
  const master = await masterOf(agent, "left");
  process.kill(master, "SIGKILL");
  // Its workers answer for some milliseconds more, so an answer alone does not tell that it is back.
  await until("another HAProxy runs", async () => ![0, master].includes(await masterOf(agent, "left")));
  await until("HAProxy is back", async () => (await answers().catch(() => [])).join() === "green,green");

  // A route that is made in a transaction goes with it, with all that it has moved.
  const { id } = await client.begin({ target: "route/other", owner: OWNER, leaseMs: 60_000 });
  const spec = routeSpec.parse({
    edges: EDGES,
    stable: "green",
    candidate: "blue",
    split: 10_000,
    match: { host: "x.y" },
  });
  await client.step(id, { verb: "route.set", route: "other", spec }, () => undefined);
  await client.abort(id, "a gate failed");
  assert.equal(await client.route("other"), undefined);
  assert.deepEqual(await answers(), ["green", "green"]);

  // As after a reboot: nothing runs, and what is on disk comes back.
  await endEverything(agent.directory);
  await assert.rejects(answers());
  await startTestAgent(t, { directory: agent.directory });
  await until("the edges are back", async () => (await answers().catch(() => [])).join() === "green,green");
});

/** The split that HAProxy itself has, whoever runs it. */
async function splitIn({ directory }: TestAgent, edge: string): Promise<number> {
  const answer = await ask(join(directory, "edges", edge, "worker.sock"), "show map splits.map");
  return Number(new RegExp(`${KEY} (\\d+)`).exec(answer)?.[1] ?? Number.NaN);
}

/** Kills an edge's HAProxy, and keeps its agent from starting it again until what is returned is called. */
async function breakEdge(agent: TestAgent, edge: string): Promise<() => Promise<void>> {
  const path = join(agent.directory, "edges", edge, "haproxy.cfg");
  const master = await masterOf(agent, edge);
  await rm(path);
  await mkdir(path);
  process.kill(master, "SIGKILL");
  await until("HAProxy is gone", async () => (await agent.processes()).every(({ id }) => id !== `edge.${edge}`));
  return () => rmdir(path);
}

test("a dead edge refuses a rollout before anything changes, and holds up neither an undo nor a rollback on the others", async (t) => {
  const { agent, change, splits } = await twoEdges(t);
  const { client } = agent;
  await change("route/api", route(5000));
  const mendFirst = await breakEdge(agent, "right");
  const { id } = await client.begin({ target: "route/api", owner: OWNER, leaseMs: 60_000 });
  await assert.rejects(
    client.step(id, route(10_000), () => undefined),
    /edges\[1\]: HAProxy of edge right does not run/,
  );
  await client.abort(id, "refused");
  assert.equal(await splitIn(agent, "left"), 5000);
  await change("route/api", route(100));
  assert.equal(await splitIn(agent, "left"), 100);
  await mendFirst();
  await until("the edge is back", async () => (await splits())?.right === 100);

  const rollout = await client.begin({ target: "route/api", owner: OWNER, leaseMs: 60_000 });
  await client.step(rollout.id, route(10_000), () => undefined);
  const mendAgain = await breakEdge(agent, "right");
  const aborted = client.abort(rollout.id, "an edge died");
  await until("the other edge is put back", async () => (await splitIn(agent, "left")) === 100);
  await mendAgain();
  await aborted;
  await until("the edge is back", async () => (await splits())?.right === 100);
});

test("what speaks against a route is said with the property", async (t) => {
  const { agent, change } = await twoEdges(t);
  await change("route/api", route(0));
  const outcomeOf = async (name: string, more: Partial<RouteInput>) => {
    const spec = routeSpec.parse({ edges: ["left"], stable: "blue", split: 0, ...more });
    const { id } = await agent.client.begin({ target: `route/${name}`, owner: OWNER, leaseMs: 60_000 });
    const outcome = await agent.client
      .step(id, { verb: "route.set", route: name, spec }, () => undefined)
      .then(
        () => "done",
        (error: Error) => error.message,
      );
    await agent.client.abort(id, "asked");
    return outcome;
  };
  assert.equal(
    await outcomeOf("two", {}),
    "match: is the match of route api on edge left already: make one of them differ",
  );
  assert.match(
    await outcomeOf("two", { edges: ["up"] }),
    /^edges\[0\]: edge up is not on this agent \(it has left, right\)/,
  );
  assert.match(
    await outcomeOf("two", { stable: "red", match: { host: "x.y" } }),
    /^stable: backend red is not on edge left \(it has blue, green\): declare it/,
  );
  assert.equal(
    await outcomeOf("two", { match: { frontends: ["https"] } }),
    "match.frontends: https is not a frontend of edge left: it has http",
  );
  assert.equal(await outcomeOf("two", { match: { host: "x.y" } }), "done");
});

test("a route whose edges are still coming up, as after a reboot, waits for them instead of being refused", async (t) => {
  const { agent, change, answers } = await twoEdges(t);
  await change("route/api", route(0));
  await endEverything(agent.directory);
  // The agent answers after ten seconds, though no HAProxy runs yet.
  await slowHaproxy(t, 6);
  const { client } = await startTestAgent(t, { directory: agent.directory });
  assert.equal((await client.edge("left"))?.live.haproxy, "stopped");
  const { id } = await client.begin({ target: "route/api", owner: OWNER, leaseMs: 60_000 });
  await client.step(id, route(10_000), () => undefined);
  await client.commit(id);
  assert.deepEqual(await answers(), ["green", "green"]);
});

/** Puts the real HAProxy on PATH behind a script, so that each of the looks before a start takes longer. */
async function slowHaproxy(t: TestContext, seconds: number): Promise<void> {
  const folder = await temporaryFolder(t);
  const script = `#!/bin/sh\nif [ "$1" = -v ] || [ "$1" = -c ]; then sleep ${seconds}; fi\nexec ${findHaproxy()} "$@"\n`;
  await writeFile(join(folder, "haproxy"), script, { mode: 0o755 });
  const { PATH } = process.env;
  process.env.PATH = `${folder}:${PATH}`;
  t.after(() => {
    process.env.PATH = PATH;
  });
}
