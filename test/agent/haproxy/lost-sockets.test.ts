import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, readFile, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { SocketsLost } from "../../../src/agent/haproxy/runtime/lost-sockets";
import { deleteFolder } from "../../support/delete-folder";
import { until } from "../../support/until";
import { startLoad, TestEdge, upstream, web } from "./support/edge";

const SOCKETS = ["master.sock", "worker.sock"] as const;

const LOSSES: { name: string; lose: (edge: TestEdge) => Promise<unknown> }[] = [
  ...SOCKETS.map((socket) => ({
    name: `${socket} deleted`,
    lose: (edge: TestEdge) => rm(join(edge.edgeFolder, socket)),
  })),
  { name: "both sockets deleted", lose: (edge) => all(edge, (path) => rm(path)) },
  {
    name: "both sockets replaced by plain files",
    lose: (edge) =>
      all(edge, async (path) => {
        await rm(path);
        await writeFile(path, "not a socket");
      }),
  },
  {
    name: "worker.sock replaced by a socket on which nobody listens",
    lose: async (edge) => {
      const copy = `${edge.workerSocket}.copy`;
      execFileSync("cp", ["--archive", edge.workerSocket, copy]);
      await rename(copy, edge.workerSocket);
    },
  },
  { name: "the edge's folder deleted", lose: (edge) => deleteFolder(edge.edgeFolder) },
];

for (const { name, lose } of LOSSES)
  test(`${name}: HAProxy binds its sockets again, and no request fails`, async (t) => {
    const edge = await TestEdge.open(t);
    const [a, b] = [await upstream(t, "a"), await upstream(t, "b")];
    await edge.haproxy.apply(edge.spec(), web({ a: a.port }));
    const { master } = await edge.haproxy.observe();
    const busy = startLoad(edge.port);
    const idle = startLoad(edge.port, { clients: 10, pauseMs: 250 });
    t.after(() => Promise.all([busy.stop(), idle.stop()]));
    // Twice: a listener is taken over from a worker that has the same path.
    for (const ports of [{ b: b.port }, { a: a.port }]) {
      await lose(edge);
      const startedAt = performance.now();
      await assert.rejects(edge.haproxy.observe(), SocketsLost);
      await assert.rejects(edge.haproxy.totals(), SocketsLost);
      await edge.haproxy.apply(edge.spec(), web(ports));
      t.diagnostic(`${Math.round(performance.now() - startedAt)} ms`);
      const { backends, workerRunsFile } = await edge.haproxy.observe();
      assert.equal(workerRunsFile, true);
      const taking = Object.values(backends.web ?? {}).filter(({ state }) => state === "ready");
      assert.deepEqual(
        taking.map(({ name: server }) => server),
        Object.keys(ports),
      );
    }
    assert.deepEqual(await edge.haproxy.apply(edge.spec(), web({ a: a.port })), { how: "nothing", reasons: [] });
    const served = busy.requests;
    await until("more requests", () => busy.requests > served + 50);
    await Promise.all([busy.stop(), idle.stop()]);
    assert.deepEqual([...busy.failures, ...idle.failures], []);
    await until("one worker", async () => (await edge.haproxy.observe()).oldWorkers.length === 0);
    assert.equal((await edge.haproxy.observe()).master, master);
  });

test("a folder in a socket's place is named, and keeps HAProxy from nothing but changes", async (t) => {
  const edge = await TestEdge.open(t);
  const a = await upstream(t, "a");
  await edge.haproxy.apply(edge.spec(), web({ a: a.port }));
  const path = join(edge.edgeFolder, "master.sock");
  await rm(path);
  await mkdir(path);
  const load = startLoad(edge.port);
  t.after(() => load.stop());
  await assert.rejects(
    edge.haproxy.apply(edge.spec(), web({})),
    new RegExp(`can't be reached, since ${path} is a folder: remove ${path}, and the agent binds it again$`),
  );
  await rmdir(path);
  await edge.haproxy.apply(edge.spec(), web({ a: a.port }));
  await until("requests", () => load.requests > 50);
  await load.stop();
  assert.deepEqual(load.failures, []);
});

for (const moment of ["written", "loaded"] as const)
  test(`an agent that ends once the config for it is ${moment} leaves it to the next one`, async (t) => {
    const edge = await TestEdge.open(t);
    const a = await upstream(t, "a");
    await edge.haproxy.apply(edge.spec(), web({ a: a.port }));
    await all(edge, (path) => rm(path));
    // The agent's end: what it does next never happens.
    const { signal } = edge.processes;
    edge.processes.signal = (...args) => {
      if (moment === "loaded") signal.apply(edge.processes, args);
      throw new Error("it has ended");
    };
    await assert.rejects(edge.haproxy.apply(edge.spec(), web({ a: a.port })), /it has ended/);
    assert.match(await readFile(edge.configPath, "utf8"), /\/\/worker\.sock/);
    const load = startLoad(edge.port);
    t.after(() => load.stop());
    await edge.restartAgent();
    await edge.haproxy.apply(edge.spec(), web({ a: a.port }));
    assert.equal((await edge.haproxy.observe()).workerRunsFile, true);
    assert.deepEqual(await edge.haproxy.apply(edge.spec(), web({ a: a.port })), { how: "nothing", reasons: [] });
    await until("requests", () => load.requests > 50);
    await load.stop();
    assert.deepEqual(load.failures, []);
  });

test("stop lets requests finish, also where the sockets are gone", async (t) => {
  const edge = await TestEdge.open(t);
  const a = await upstream(t, "a");
  await edge.haproxy.apply(edge.spec(), web({ a: a.port }));
  const held = fetch(`http://127.0.0.1:${edge.port}/hold`);
  await until("the request is there", () => a.requests === 1);
  await all(edge, (path) => rm(path));
  const stopped = edge.haproxy.stop({ graceMs: 10_000 });
  setTimeout(() => a.release(), 300);
  assert.equal(await (await held).text(), "first last");
  await stopped;
});

function all(edge: TestEdge, work: (path: string) => Promise<unknown>): Promise<unknown> {
  return Promise.all(SOCKETS.map((socket) => work(join(edge.edgeFolder, socket))));
}
