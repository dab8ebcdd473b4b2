import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { sendRequests } from "../../support/requests";
import { until } from "../../support/until";
import { REPOSITORY, Workspace } from "../support/engine";
import { HostedStack } from "../support/hosted";
import { succeeded } from "../support/site";

const MANY = 12;
/** Engines make two changes for each of a machine's cores at once, or more: as many as this is what a larger machine does. */
const AT_ONCE = ["--parallel", "16"];

/** A stack with an edge that answers, and requests to it that must not fail. */
async function world(t: TestContext) {
  const server = createServer((_, response) => response.writeHead(200, { "x-release": "web" }).end());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const hosted = await HostedStack.create(t);
  const edges = { main: hosted.edge() };
  const web = { edge: "main", servers: { a: { address: "127.0.0.1", port } } };
  const declare = (backends: Record<string, object>) => hosted.declare({ edges, backends: { web, ...backends } });
  await declare({});
  assert.equal((await hosted.stack.up()).exit, 0);
  const requests = sendRequests(t, [hosted.port], { pauseMs: 20 });
  t.after(() => requests.stop());
  return { hosted, declare, requests };
}

function backends(count: number, prefix = "b", port = 9): Record<string, object> {
  const one = { edge: "main", servers: { a: { address: "127.0.0.1", port } } };
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`${prefix}${index + 1}`, one]));
}

/** Backends besides `web`, as the agent has committed them and HAProxy runs them. */
async function served({ client }: HostedStack) {
  const { backends: committed } = await client.status();
  const running = (await client.edge("main"))?.observed.backends ?? {};
  const names = (keys: string[]) => keys.filter((name) => name !== "web").toSorted();
  return {
    committed: names(Object.keys(committed).map((key) => key.slice("main/".length))),
    running: names(Object.keys(running)),
  };
}

async function reloads({ host }: HostedStack): Promise<number> {
  const events = await readFile(path.join(host, "events.ndjson"), "utf8");
  return events.split("\n").filter((line) => line.includes('"message":"edge main: reload"')).length;
}

test("the backends of an edge that an update declares are applied by far fewer reloads", async (t) => {
  const { hosted, declare, requests } = await world(t);
  const { stack } = hosted;
  const all = Object.keys(backends(MANY)).toSorted();
  const begun = await reloads(hosted);
  await declare(backends(MANY));
  const created = await stack.up(...AT_ONCE);
  assert.equal(created.exit, 0, created.stdout);
  assert.deepEqual(await served(hosted), { committed: all, running: all });
  assert.ok((await reloads(hosted)) - begun <= MANY / 2, `${(await reloads(hosted)) - begun} reloads`);
  assert.match((await stack.preview()).stdout, new RegExp(`${MANY + 6} unchanged`));

  const beforeMove = await reloads(hosted);
  await declare(backends(MANY, "b", 19));
  assert.equal((await stack.up(...AT_ONCE)).exit, 0);
  assert.equal(await reloads(hosted), beforeMove, "servers change without a reload");
  assert.equal((await hosted.client.backend("main", "b7"))?.live.servers.a?.address, "127.0.0.1:19");

  await t.test("a target alone, and one after the other", async () => {
    await declare({ ...backends(MANY, "b", 19), ...backends(3, "b", 29) });
    const target = (await hosted.recorded("Backend")).find(({ id }) => id === "main/b2")?.urn ?? "";
    const one = await stack.up("--target", target);
    assert.equal(one.exit, 0, one.stdout);
    assert.equal((await hosted.client.backend("main", "b2"))?.live.servers.a?.address, "127.0.0.1:29");
    assert.equal((await hosted.client.backend("main", "b3"))?.live.servers.a?.address, "127.0.0.1:19");
    const rest = await stack.up("--parallel", "1");
    assert.equal(rest.exit, 0, rest.stdout);
    assert.equal((await hosted.client.backend("main", "b3"))?.live.servers.a?.address, "127.0.0.1:29");
  });
  assert.deepEqual((await requests.stop()).failures, []);
});

for (const [how, signal, env] of [
  ["Ctrl-C", "SIGINT", {}],
  ["the death of the deployment", "SIGKILL", {}],
  ["the death of a deployment that records nothing before its end", "SIGKILL", { PULUMI_SKIP_CHECKPOINTS: "true" }],
] as const)
  test(`${how} in the middle leaves what is committed, and the next update completes it`, async (t) => {
    const { hosted, declare, requests } = await world(t);
    const { stack, client } = hosted;
    await declare(backends(MANY));
    stack.use(env);
    // Some at a time, so that others are still to come once the first ones are committed.
    const update = stack.start("up", "--parallel", "3");
    await until("some of the backends to be committed", async () => (await served(hosted)).committed.length >= 2);
    update.signal(signal);
    const { exit } = await update.finished;
    assert.notEqual(exit, 0);
    let open: unknown;
    await until(
      () => `no transaction to be open, but ${JSON.stringify(open)}`,
      async () => {
        const { transactions } = await client.status();
        open = transactions;
        return transactions.length === 0;
      },
    );
    const { committed, running } = await served(hosted);
    assert.deepEqual(running, committed);
    succeeded(await stack.cancel());
    succeeded(await stack.up(...AT_ONCE));
    const all = Object.keys(backends(MANY)).toSorted();
    assert.deepEqual(await served(hosted), { committed: all, running: all });
    assert.deepEqual((await requests.stop()).failures, []);
  });

test("two stacks that declare backends of one edge at once each get theirs", async (t) => {
  const { hosted, declare, requests } = await world(t);
  const { host: directory, socket } = hosted;
  const other = await Workspace.create({
    stack: "other",
    program: `
import { Backend } from "${REPOSITORY}/src/provider/classes/backend";
for (const [name, { servers }] of Object.entries<any>(${JSON.stringify(backends(MANY / 2, "other"))}))
  new Backend(name, { agent: ${JSON.stringify({ directory, socket })}, edge: "main", name, servers });
`,
    providers: { sluice: path.join(REPOSITORY, "src", "provider") },
  });
  t.after(() => other.close());
  await declare(backends(MANY / 2));
  const outcomes = await Promise.all([hosted.stack.up(...AT_ONCE), other.up(...AT_ONCE)]);
  for (const { exit, stdout } of outcomes) assert.equal(exit, 0, stdout);
  const all = Object.keys({ ...backends(MANY / 2), ...backends(MANY / 2, "other") }).toSorted();
  assert.deepEqual(await served(hosted), { committed: all, running: all });
  const destroyed = await other.destroy(...AT_ONCE);
  assert.equal(destroyed.exit, 0, destroyed.stdout);
  const own = Object.keys(backends(MANY / 2)).toSorted();
  assert.deepEqual(await served(hosted), { committed: own, running: own });
  assert.deepEqual((await requests.stop()).failures, []);
});
