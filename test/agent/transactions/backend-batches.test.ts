import assert from "node:assert/strict";
import { watch } from "node:fs";
import { chmod, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { AgentError } from "../../../src/agent/client/connection";
import { findHaproxy } from "../../../src/agent/haproxy/config/version";
import { send } from "../../../src/agent/processes/identity";
import type { BackendInput } from "../../../src/model/edge/backend";
import type { StepInput } from "../../../src/model/protocol/transaction";
import { startTestAgent, type TestAgent, temporaryFolder } from "../../support/agent";
import { freePorts } from "../../support/ports";
import { sendRequests } from "../../support/requests";
import { change, OWNER } from "../../support/transaction";
import { until } from "../../support/until";
import { edgeStep } from "../support/pool";

const MANY = 24;
/** A config that names this backend is refused. */
const REFUSED = "refused";

/**
 * Puts a HAProxy on PATH that notes its config checks: the real one, behind a script that also refuses one backend, since
 * no spec that passes the schema is refused by HAProxy itself.
 */
async function watchedHaproxy(t: TestContext) {
  const folder = await temporaryFolder(t);
  const log = join(folder, "checks");
  const script = join(folder, "haproxy");
  await writeFile(log, "");
  await writeFile(
    script,
    `#!/bin/sh
if [ "$1" = -c ]; then
  echo check >> ${log}
  line=$(grep -n "^backend ${REFUSED}$" "$3" | cut -d: -f1)
  if [ -n "$line" ]; then echo "[ALERT]    ($$) : config : parsing [$3:$line] : it is refused." >&2; exit 1; fi
fi
exec ${findHaproxy()} "$@"
`,
  );
  await chmod(script, 0o755);
  const { PATH } = process.env;
  process.env.PATH = `${folder}:${PATH}`;
  t.after(() => {
    process.env.PATH = PATH;
  });
  return { checks: async () => (await readFile(log, "utf8")).split("\n").length - 1 };
}

/** An agent with an edge whose backend `web` answers, and its counters. */
async function world(t: TestContext) {
  const { checks } = await watchedHaproxy(t);
  const server = createServer((_, response) => response.writeHead(200, { "x-release": "web" }).end());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const { port: serverPort } = server.address() as AddressInfo;
  const agent = await startTestAgent(t);
  const port = await freePorts(1);
  await change(agent.client, "edge/main", [edgeStep(port)]);
  await change(agent.client, "backend/main/web", [set("web", { servers: { a: at(serverPort) } })]);
  let writes = 0;
  const watcher = watch(agent.directory, (_, file) => {
    if (file === "state.json") writes += 1;
  });
  t.after(() => watcher.close());
  const count = async () => ({ checks: await checks(), reloads: await eventsOf(agent, /^edge main: reload$/), writes });
  return { agent, port, serverPort, count };
}

function at(port: number) {
  return { address: "127.0.0.1", port };
}

function set(backend: string, spec: BackendInput = { servers: { a: at(9) } }): StepInput {
  return { verb: "backend.set", edge: "main", backend, spec };
}

function remove(backend: string): StepInput {
  return { verb: "backend.remove", edge: "main", backend };
}

function names(count = MANY): string[] {
  return Array.from({ length: count }, (_, index) => `b${index + 1}`);
}

async function eventsOf({ directory }: TestAgent, message: RegExp): Promise<number> {
  const lines = (await readFile(join(directory, "events.ndjson"), "utf8")).split("\n").filter(Boolean);
  return lines.filter((line) => message.test(JSON.parse(line).message)).length;
}

async function declared({ client }: TestAgent): Promise<string[]> {
  return Object.keys((await client.status()).backends).toSorted();
}

/** Backends in the config on disk and in the running worker. */
async function served({ client, directory }: TestAgent) {
  const config = await readFile(join(directory, "edges", "main", "haproxy.cfg"), "utf8");
  const { observed } = (await client.edge("main")) ?? {};
  return {
    onDisk: [...config.matchAll(/^backend ([a-z]\S*)$/gm)].map(([, name]) => name ?? "").toSorted(),
    running: Object.keys(observed?.backends ?? {}).toSorted(),
  };
}

/** Makes changes at the same moment, each in a transaction of its own, as updates of an engine do. */
function together({ client }: TestAgent, steps: readonly (StepInput & { backend?: string })[]) {
  return Promise.allSettled(steps.map((step) => change(client, `backend/main/${step.backend}`, [step])));
}

function reasons(outcomes: readonly PromiseSettledResult<void>[]): string[] {
  return outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [(outcome.reason as Error).message] : []));
}

test("backends that change at the same moment share a config check, a reload and writes of the state", async (t) => {
  const { agent, port, serverPort, count } = await world(t);
  const requests = sendRequests(t, [port], { pauseMs: 5 });
  const begun = await count();

  const created = await together(
    agent,
    names().map((name) => set(name)),
  );
  assert.deepEqual(reasons(created), []);
  const all = ["web", ...names()].toSorted();
  assert.deepEqual(await served(agent), { onDisk: all, running: all });
  const afterCreate = await count();

  const moved = await together(
    agent,
    names().map((name) => set(name, { servers: { a: at(serverPort) } })),
  );
  assert.deepEqual(reasons(moved), []);
  const afterMove = await count();

  const removed = await together(
    agent,
    names().map((name) => remove(name)),
  );
  assert.deepEqual(reasons(removed), []);
  assert.deepEqual(await served(agent), { onDisk: ["web"], running: ["web"] });
  const end = await count();

  // Those whose request comes late on a busy machine may be a second batch, or a third.
  const few = MANY / 3;
  // Each commit comes with a request of its own, once its change is answered.
  const fewWrites = MANY / 2;
  for (const [from, to] of [
    [begun, afterCreate],
    [afterMove, end],
  ] as const) {
    assert.ok(to.checks - from.checks <= few, `${to.checks - from.checks} config checks`);
    assert.ok(to.reloads - from.reloads <= few, `${to.reloads - from.reloads} reloads`);
    assert.ok(to.writes - from.writes <= fewWrites, `${to.writes - from.writes} writes of the state`);
  }
  assert.equal(afterMove.reloads, afterCreate.reloads, "servers change without a reload");
  assert.ok(afterMove.writes - afterCreate.writes <= fewWrites, `${afterMove.writes - afterCreate.writes} writes`);
  assert.deepEqual((await requests.stop()).failures, []);
});

test("each of the backends that change together has its own transaction, events and evidence", async (t) => {
  const { agent } = await world(t);
  assert.deepEqual(reasons(await together(agent, [set("b1"), set("b2", { servers: { z: at(19) } })])), []);
  const journal = (await readFile(join(agent.directory, "journal.ndjson"), "utf8")).split("\n").filter(Boolean);
  const entries = journal.map((line) => JSON.parse(line) as { kind: string; id: string; target?: string });
  for (const [name, path] of [
    ["b1", "servers.a.port"],
    ["b2", "servers.z.port"],
  ] as const) {
    const target = `backend/main/${name}`;
    const id = entries.find((entry) => entry.target === target)?.id ?? "";
    assert.deepEqual(
      entries.flatMap((entry) => (entry.id === id ? [entry.kind] : [])),
      ["opened", "step", "committed"],
    );
    const { record } = (await agent.client.evidenceOf(id)) ?? {};
    assert.equal(record?.verdict, "committed");
    assert.deepEqual(
      record?.changes.flatMap((each) => (/port$/.test(each.path) ? [each.path] : [])),
      [path],
    );
    assert.equal(await eventsOf(agent, new RegExp(`^backend ${name} of edge main changes$`)), 1);
    assert.equal(await eventsOf(agent, new RegExp(`^${target} is committed`)), 1);
  }
});

test("a backend that HAProxy refuses fails alone, with HAProxy's words", async (t) => {
  const { agent, port } = await world(t);
  const requests = sendRequests(t, [port], { pauseMs: 5 });
  const outcomes = await together(
    agent,
    [...names(5), REFUSED, "c1", "c2"].map((name) => set(name)),
  );
  assert.equal(reasons(outcomes).length, 1);
  assert.match(
    reasons(outcomes)[0] ?? "",
    /^HAProxy refuses the config: .*it is refused\.\n {2}line \d+: backend refused$/,
  );
  assert.equal(
    outcomes.findIndex(({ status }) => status === "rejected"),
    5,
  );
  const good = ["c1", "c2", "web", ...names(5)].toSorted();
  assert.deepEqual(await served(agent), { onDisk: good, running: good });
  assert.deepEqual(
    await declared(agent),
    good.map((name) => `main/${name}`),
  );
  assert.deepEqual((await requests.stop()).failures, []);
});

test("a backend that may not change is refused alone", async (t) => {
  const { agent } = await world(t);
  await change(agent.client, "backend/main/old", [set("old")]);
  await change(agent.client, "route/api", [
    {
      verb: "route.set",
      route: "api",
      spec: { edges: ["main"], stable: "web", split: 0, match: { pathPrefix: "/api" } },
    },
  ]);
  const outcomes = await together(agent, [set("b1"), remove("web"), remove("old"), set("b2")]);
  assert.deepEqual(reasons(outcomes), [
    "backend web of edge main still takes requests of route api: lead them elsewhere first",
  ]);
  assert.deepEqual((await served(agent)).running, ["b1", "b2", "web"]);
});

test("a change that is given up while it joins others leaves them alone", async (t) => {
  const { agent } = await world(t);
  const { client } = agent;
  // The batch waits for this one, whose transaction is open.
  const late = await client.begin({ target: "backend/main/late", owner: OWNER, leaseMs: 60_000 });
  const first = await client.begin({ target: "backend/main/first", owner: OWNER, leaseMs: 60_000 });
  const given = await client.begin({ target: "backend/main/given", owner: OWNER, leaseMs: 60_000 });
  const steps = [first, given].map(({ id, target }) => client.step(id, set(target.slice(13)), () => undefined));
  const gone = assert.rejects(steps[1] as Promise<unknown>, isUndone);
  await until("both to have begun", async () => (await eventsOf(agent, /of edge main changes$/)) === 3);
  const undone = client.abort(given.id, "given up");
  await client.step(late.id, set("late"), () => undefined);
  await steps[0];
  await gone;
  assert.equal((await undone).state, "undone");
  await Promise.all([client.commit(first.id), client.commit(late.id)]);
  assert.deepEqual((await served(agent)).running, ["first", "late", "web"]);
});

function isUndone(error: unknown): boolean {
  return error instanceof AgentError && error.code === "undone";
}

test("backends of a deployer that dies between their change and their commits are undone together", async (t) => {
  const { agent, port, count } = await world(t);
  const { client } = agent;
  const requests = sendRequests(t, [port], { pauseMs: 5 });
  const opened = await Promise.all(
    names().map((name) => client.begin({ target: `backend/main/${name}`, owner: OWNER, leaseMs: 3000 })),
  );
  const outcomes = await Promise.allSettled(
    opened.map(({ id, target }) => client.step(id, set(target.slice(13)), () => undefined)),
  );
  const changed = outcomes.filter(({ status }) => status === "fulfilled").length;
  const { reloads } = await count();
  await until("all to be undone", async () => (await client.status()).transactions.length === 0);
  assert.deepEqual(await served(agent), { onDisk: ["web"], running: ["web"] });
  assert.ok(changed === 0 || (await count()).reloads - reloads <= MANY / 2);
  assert.deepEqual(
    reasons(
      await together(
        agent,
        names().map((name) => set(name)),
      ),
    ),
    [],
  );
  assert.deepEqual((await requests.stop()).failures, []);
});

test("an agent that dies between the config of backends and their commits comes back with what is committed", async (t) => {
  const { agent, port } = await world(t);
  const { client } = agent;
  const requests = sendRequests(t, [port], { pauseMs: 5 });
  const opened = await Promise.all(
    names().map((name) => client.begin({ target: `backend/main/${name}`, owner: OWNER, leaseMs: 60_000 })),
  );
  await Promise.all(opened.map(({ id, target }) => client.step(id, set(target.slice(13)), () => undefined)));
  assert.equal((await served(agent)).onDisk.length, MANY + 1);
  // Half of the commits may be in the state by then: each of them is whole.
  const commits = Promise.allSettled(opened.slice(0, MANY / 2).map(({ id }) => client.commit(id)));
  send(agent.about.pid, "SIGKILL");
  await commits;
  await until("another agent to answer", async () => {
    const about = await client.about().catch(() => undefined);
    return about !== undefined && about.pid !== agent.about.pid;
  });
  const committed = (await declared(agent)).map((key) => key.slice("main/".length));
  assert.deepEqual(await served(agent), { onDisk: committed, running: committed });
  assert.ok(committed.length <= MANY / 2 + 1, committed.join());
  assert.deepEqual(
    reasons(
      await together(
        agent,
        names().map((name) => set(name)),
      ),
    ),
    [],
  );
  assert.equal((await declared(agent)).length, MANY + 1);
  assert.deepEqual((await requests.stop()).failures, []);
});
