import assert from "node:assert/strict";
import { mkdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { AgentClient } from "../../src/agent/client/client";
import { allStats, type ProcessStat, readStat, send } from "../../src/agent/processes/identity";
import { endEverything, temporaryFolder } from "../support/agent";
import { freePorts } from "../support/ports";
import { sendRequests } from "../support/requests";
import { until } from "../support/until";
import { REPOSITORY, stepsOf, Workspace } from "./support/engine";

const APP = path.join(REPOSITORY, "test", "fixtures", "canary", "app.mjs");
const NODES = ["one", "two", "three"] as const;
const BACK = { deadlineMs: 90_000, intervalMs: 200 };

const PROGRAM = `
import { readFileSync } from "node:fs";
import { CanaryRelease, HaproxyEdge, LocalHost } from "${REPOSITORY}/components";

const { hosts, edgePorts, nodes, args } = JSON.parse(readFileSync(__dirname + "/declared.json", "utf8"));
const host: Record<string, LocalHost> = {};
for (const [name, directory] of Object.entries<string>(hosts))
  host[name] = new LocalHost(name, { directory, socket: directory + "/a.sock" });
const edges = edgePorts.map((port: number, index: number) => new HaproxyEdge("edge-" + index, {
  host: host["edges-" + index],
  name: "main",
  frontends: { http: { binds: [{ port }], defaultBackend: "web" } },
  meter: true,
}));
const at = Object.fromEntries(Object.entries<number>(nodes).map(([name, port]) => [name, { host: host["nodes-" + name], port }]));
new CanaryRelease("web", { edges, nodes: at, ...args });
`;

interface Stack {
  stack: Workspace;
  edgePorts: number[];
  clients: Record<string, AgentClient>;
  /** Writes a release of the app, to be sent as an artifact. */
  build(id: string, behaviour?: object): Promise<string>;
  declare(id: string, args?: object): Promise<void>;
  /** The app's process, which is not healthy on one node until that is mended. */
  breaking(node: (typeof NODES)[number]): Promise<object>;
  repair(): Promise<void>;
  /** Releases by node that are committed. */
  releases(): Promise<Record<string, string | undefined>>;
}

async function start(t: TestContext): Promise<Stack> {
  const folder = await temporaryFolder(t);
  const names = ["edges-0", "edges-1", ...NODES.map((node) => `nodes-${node}`)];
  const hosts = Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await temporaryFolder(t)] as const)),
  );
  const stack = await Workspace.create({
    program: PROGRAM,
    providers: { sluice: path.join(REPOSITORY, "src", "provider") },
  });
  const clients = Object.fromEntries(
    names.map((name) => [name, new AgentClient(path.join(hosts[name] ?? "", "a.sock"))]),
  );
  t.after(async () => {
    for (const client of Object.values(clients)) client.close();
    await Promise.all(Object.values(hosts).map(endEverything));
    await stack.close();
  });
  const port = await freePorts(2 + NODES.length);
  const edgePorts = [port, port + 1];
  const nodes = Object.fromEntries(NODES.map((node, index) => [node, port + 2 + index]));
  const build = async (id: string, behaviour: object = {}) => {
    const release = path.join(folder, id);
    await mkdir(release, { recursive: true });
    await writeFile(path.join(release, "release.json"), JSON.stringify({ id, ...behaviour }));
    return release;
  };
  return {
    stack,
    edgePorts,
    clients,
    build,
    async declare(id, args = {}) {
      const web = {
        policy: "proxied",
        command: [process.execPath, APP, "{{port}}"],
        gracefulStop: "2 seconds",
        health: { path: "/healthz", interval: "50 milliseconds", deadline: "20 seconds" },
      };
      const settings = {
        release: { id },
        artifact: path.join(folder, id),
        processes: { web },
        drainDeadline: "5 seconds",
        check: { path: "/healthz", interval: "500 milliseconds" },
        window: "6 seconds",
        interval: "500 milliseconds",
        minRequests: 20,
        ...args,
      };
      await stack.write("declared.json", JSON.stringify({ hosts, edgePorts, nodes, args: settings }));
    },
    async breaking(node) {
      await writeFile(path.join(folder, `${nodes[node]}.broken`), "");
      return {
        policy: "proxied",
        command: [process.execPath, APP, "{{port}}"],
        env: { BROKEN: folder },
        health: { path: "/healthz", interval: "50 milliseconds", deadline: "3 seconds" },
      };
    },
    async repair() {
      for (const node of NODES) await rm(path.join(folder, `${nodes[node]}.broken`), { force: true });
    },
    async releases() {
      const pools = NODES.map(async (node) => [
        node,
        (await clients[`nodes-${node}`]?.pool(`web-${node}`))?.live.release,
      ]);
      return Object.fromEntries(await Promise.all(pools));
    },
  };
}

test("canary releases, node by node, on two edges and three nodes of five agents", async (t) => {
  const { stack, edgePorts, clients, build, declare, releases, breaking, repair } = await start(t);
  const all = (id: string) => ({ one: id, two: id, three: id });
  for (const id of ["v1", "v2"]) await build(id);
  await declare("v1", { window: "1 hour" });
  const first = await stack.up();
  assert.equal(first.exit, 0, first.stdout);
  const load = sendRequests(edgePorts);
  t.after(() => load.stop());
  assert.deepEqual(await releases(), all("v1"));

  await t.test("a good one: its plan in the preview, then the canary, its window, and the peers", async () => {
    await declare("v2");
    const preview = await stack.preview("--diff");
    const said = preview.stdout + preview.stderr;
    assert.match(said, /replaces v1 by v2 in place:/);
    assert.match(said, /server one of backend web drains on edges main, main, up to 5 seconds/);
    assert.match(said, /it is watched for 6 s: canary \(sli\): p95 < 500 ms, 5xx < 0\.5 %, at least 20 requests/);
    assert.match(said, /if anything fails before the end, v1 is put back, started, and gets its traffic again/);
    assert.deepEqual(await releases(), all("v1"));
    const { exit, stdout, events } = await stack.up();
    assert.equal(exit, 0, stdout);
    assert.deepEqual(
      stepsOf({ events }, "sluice:index:Pool").flatMap(({ op, urn }) =>
        op === "update" ? [urn.split("::").at(-1)] : [],
      ),
      ["web-one", "web-two", "web-three"],
    );
    assert.deepEqual(await releases(), all("v2"));
    assert.deepEqual(load.seen().failures, []);
    assert.match((await stack.preview()).stdout, /unchanged/);
  });

  await t.test("one whose migrations are pending is refused before anything is touched", async () => {
    await build("v3");
    await declare("v3", { pendingMigrations: ["sh", "-c", "echo 0042_add_index.sql is pending; exit 1"] });
    const { exit, stdout } = await stack.up();
    assert.notEqual(exit, 0);
    assert.match(stdout, /gate pending migrations: .*0042_add_index\.sql is pending/);
    assert.deepEqual(await releases(), all("v2"));
  });

  await t.test("another good one", async () => {
    await declare("v3", { pendingMigrations: ["true"] });
    const { exit, stdout } = await stack.up();
    assert.equal(exit, 0, stdout);
    assert.deepEqual(await releases(), all("v3"));
  });

  await t.test("one that answers 500 on its health path is undone at the canary", async () => {
    await build("sick", { health: 500 });
    const web = {
      policy: "proxied",
      command: [process.execPath, APP, "{{port}}"],
      health: { path: "/healthz", interval: "50 milliseconds", deadline: "2 seconds" },
    };
    await declare("sick", { processes: { web } });
    const { exit, stdout } = await stack.up();
    assert.notEqual(exit, 0);
    assert.match(stdout, /not healthy within 2 seconds: GET \/healthz answered 500/);
    assert.match(stdout, /pool\/web-one of the agent at \S+ is as it was before/);
    assert.deepEqual(await releases(), all("v3"));
  });

  await t.test("one that is healthy but serves 2 % errors is undone by the window", async () => {
    await build("flaky", { errors: 0.02 });
    await declare("flaky", { window: "1 minute" });
    const { exit, stdout } = await stack.up();
    assert.notEqual(exit, 0);
    assert.match(stdout, /gate canary: failed: 5xx /);
    assert.deepEqual(await releases(), all("v3"));
    assert.deepEqual(load.seen().failures, []);
  });

  await t.test("a peer that fails undoes itself alone, and the next update goes on with it", async () => {
    await build("v4");
    await declare("v4", { processes: { web: await breaking("two") } });
    const { exit, stdout } = await stack.up();
    assert.notEqual(exit, 0);
    assert.match(stdout, /web#0 of pool web-two \(release v4\) not healthy/);
    assert.match(stdout, /pool\/web-two of the agent at \S+ is as it was before/);
    assert.deepEqual(await releases(), { one: "v4", two: "v3", three: "v3" });
    await repair();
    const again = await stack.up();
    assert.equal(again.exit, 0, again.stdout);
    const steps = stepsOf(again, "sluice:index:Pool").filter(({ op }) => op === "update");
    assert.deepEqual(
      steps.map(({ urn }) => urn.split("::").at(-1)),
      ["web-two", "web-three"],
    );
    assert.deepEqual(await releases(), all("v4"));
  });

  await t.test("an update that is killed in the window is put back by the agents; the next one does it", async () => {
    await build("v5");
    await declare("v5", { window: "10 minutes" });
    const up = stack.start("up");
    await until("the canary to be watched", () => /watching/.test(up.output()), BACK);
    for (const { pid } of family(up.pid, await allStats())) send(pid, "SIGKILL");
    await up.finished;
    const agents = [clients["edges-0"], clients["edges-1"], clients["nodes-one"]] as AgentClient[];
    await until(
      "the canary put back",
      async () => {
        const open = await Promise.all(agents.map(async (client) => (await client.status()).transactions.length));
        const pool = await clients["nodes-one"]?.pool("web-one");
        return (
          open.every((count) => count === 0) &&
          pool?.live.release === "v4" &&
          pool.live.processes["web#0"] === "running"
        );
      },
      BACK,
    );
    assert.deepEqual(load.seen().failures, []);
    await stack.cancel();
    await declare("v5");
    const { exit, stdout } = await stack.up();
    assert.equal(exit, 0, stdout);
    assert.deepEqual(await releases(), all("v5"));
  });

  await t.test("a host whose agent is gone: a warning in the preview, and the update starts it first", async () => {
    await build("v6");
    await declare("v6");
    const client = clients["nodes-three"] as AgentClient;
    const { pid } = await client.about();
    for (const each of [readStat(pid)?.parent ?? 0, pid]) send(each, "SIGKILL");
    const preview = await stack.preview();
    assert.match(preview.stdout + preview.stderr, /What is shown is what was recorded at the last update/);
    assert.equal(preview.exit, 0, preview.stdout);
    // The update starts the agent again, which the host's own resource sees to.
    const { exit, stdout } = await stack.up();
    assert.equal(exit, 0, stdout);
    assert.deepEqual(await releases(), all("v6"));
  });

  assert.deepEqual((await load.stop()).failures, []);

  await t.test("a destroy leaves nothing", async () => {
    const { exit, stdout } = await stack.destroy();
    assert.equal(exit, 0, stdout);
  });
});

/** A process and all that it has started, as far as it still belongs to it. */
function family(pid: number, all: readonly ProcessStat[]): { pid: number }[] {
  return [{ pid }, ...all.filter(({ parent }) => parent === pid).flatMap((child) => family(child.pid, all))];
}
