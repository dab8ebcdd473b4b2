import assert from "node:assert/strict";
import path from "node:path";
import test from "node:test";
import { AgentClient } from "../../../src/agent/client/client";
import { readStat, send } from "../../../src/agent/processes/identity";
import { endEverything, temporaryFolder } from "../../support/agent";
import { freePorts } from "../../support/ports";
import { startServer } from "../../support/server";
import { REPOSITORY, Workspace } from "../support/engine";

const PROGRAM = `
import { readFileSync } from "node:fs";
import { HaproxyEdge, LocalHost, Route } from "${REPOSITORY}/components";
import { Backend } from "${REPOSITORY}/src/provider/classes/backend";

const { hosts, port, server, on, stage, name, stable, candidate } = JSON.parse(readFileSync(__dirname + "/declared.json", "utf8"));
const edges = hosts.map((directory: string, index: number) => new HaproxyEdge("edge-" + index, {
  host: new LocalHost("host-" + index, { directory, socket: directory + "/a.sock" }),
  name: "main",
  frontends: { http: { binds: [{ port: port + index }], defaultBackend: "blue" } },
}));
const backends = edges.flatMap(({ agent, edgeName }: HaproxyEdge, index: number) =>
  ["blue", "green"].map((name) => new Backend(name + "-" + index, {
    agent, edge: edgeName, name, servers: { one: { address: "127.0.0.1", port: server } },
  })));
const stages = ["1%", "10%", "100%"].map((split) => ({ split, window: "200 milliseconds" }));
new Route(name, { name: "api", edges: on.map((index: number) => edges[index]), stable, candidate, stages, stage }, { dependsOn: backends });
`;

test("a route on edges of two hosts is one resource: refused, rolled out, shown and removed as one", async (t) => {
  const hosts = [await temporaryFolder(t), await temporaryFolder(t)];
  const stack = await Workspace.create({
    program: PROGRAM,
    providers: { sluice: path.join(REPOSITORY, "src", "provider") },
  });
  const clients = hosts.map((host) => new AgentClient(path.join(host, "a.sock")));
  t.after(async () => {
    for (const client of clients) client.close();
    await Promise.all(hosts.map(endEverything));
    await stack.close();
  });
  const port = await freePorts(2);
  const { port: server } = await startServer(t, (_, response) => response.end());
  let name = "api";
  let [stable, candidate] = ["blue", "green"];
  const declare = (stage: string, on = [0, 1]) =>
    stack.write("declared.json", JSON.stringify({ hosts, port, server, on, stage, name, stable, candidate }));
  const splits = () => Promise.all(clients.map(async (client) => (await client.route("api"))?.splits.main));

  await declare("10%");
  const first = await stack.up();
  assert.equal(first.exit, 0, first.stdout);
  assert.deepEqual(await splits(), [1000, 1000]);

  await t.test("what one edge has by hand shows under its host, and is mended", async () => {
    const { createConnection } = await import("node:net");
    const socket = createConnection(path.join(hosts[1] ?? "", "edges", "main", "worker.sock"));
    socket.end("set map splits.map api/blue/green 77\n");
    for await (const _ of socket);
    const preview = await stack.preview("--diff");
    assert.match(preview.stdout, new RegExp(`main@${hosts[1]}"?: "0.77%" => "10%"`));
    assert.equal((await stack.up()).exit, 0);
    assert.deepEqual(await splits(), [1000, 1000]);
  });

  await t.test("an edge leaves and comes back without moving the others", async () => {
    await declare("10%", [1]);
    const { exit, stdout } = await stack.up();
    assert.equal(exit, 0, stdout);
    assert.doesNotMatch(stdout, /replac/);
    assert.deepEqual(await splits(), [undefined, 1000]);
    await declare("10%", [0, 1]);
    assert.equal((await stack.up()).exit, 0);
    assert.deepEqual(await splits(), [1000, 1000]);
  });

  const owners = () => Promise.all(clients.map(async (client) => (await client.route("api"))?.owner?.urn));
  const [before] = await owners();
  const own = (before ?? "").replace("::api-route", "::moved-route");

  await t.test("another logical name moves it on every host, as it runs", async () => {
    assert.deepEqual(await owners(), [before, before]);
    name = "moved";
    await declare("10%");
    const { exit, stdout } = await stack.up();
    assert.equal(exit, 0, stdout);
    assert.deepEqual(
      [await owners(), await splits()],
      [
        [own, own],
        [1000, 1000],
      ],
    );
  });

  await t.test("a move that died between the hosts is ended by the next update", async () => {
    const other = (before ?? "").replace("::api-route", "::other-route");
    const { id } = await (clients[1] as AgentClient).begin({
      target: "route/api",
      owner: { who: "ana", why: other, pid: process.pid },
      claim: { kind: "create", token: "0".repeat(24) },
    });
    await clients[1]?.commit(id);
    assert.deepEqual(await owners(), [own, other]);
    const { exit, stdout } = await stack.up();
    assert.equal(exit, 0, stdout);
    assert.deepEqual(
      [await owners(), await splits()],
      [
        [own, own],
        [1000, 1000],
      ],
    );
  });

  await t.test("a held route on one host refuses it on all", async () => {
    const owner = { who: "ana", why: "a look", pid: process.pid };
    const held = await (clients[1] as AgentClient).begin({ target: "route/api", owner, leaseMs: 600_000 });
    await declare("1%");
    const { exit, stdout } = await stack.up();
    assert.notEqual(exit, 0);
    assert.match(stdout, /held: a transaction of ana/);
    assert.match(stdout, /Nothing was changed/);
    assert.deepEqual(await splits(), [1000, 1000]);
    await clients[1]?.abort(held.id, "looked");
  });

  await t.test("a dead agent: the preview shows what was known", async () => {
    const { pid } = await (clients[1] as AgentClient).about();
    for (const each of [readStat(pid)?.parent ?? 0, pid]) send(each, "SIGKILL");
    const preview = await stack.preview();
    assert.equal(preview.exit, 0, preview.stdout);
    assert.match(preview.stdout + preview.stderr, /What is shown is what was recorded at the last update/);
    // The update starts the agent again before it comes to the route.
    const { exit, stdout } = await stack.up();
    assert.equal(exit, 0, stdout);
    assert.deepEqual(await splits(), [100, 100]);
  });

  await t.test("the way back to the former stable backend stays one under another logical name", async () => {
    const change = async () => {
      const { resources } = await stack.state();
      return resources.find(({ type }) => type === "sluice:index:Route")?.inputs?.change;
    };
    await declare("100%");
    assert.equal((await stack.up()).exit, 0);
    [stable, candidate] = ["green", "blue"];
    await declare("stable");
    assert.equal((await stack.up()).exit, 0);
    name = "renamed";
    await declare("stable");
    assert.equal((await stack.up()).exit, 0);
    assert.deepEqual(await change(), {
      kind: "none",
      from: "0%",
      to: "0%",
      stage: { from: "stable", to: "stable" },
      mirrored: { from: "0%", to: "0%" },
      stable: { from: "green", to: "green", had: "100%", before: "blue" },
    });
  });

  const { exit, stdout } = await stack.destroy();
  assert.equal(exit, 0, stdout);
});
