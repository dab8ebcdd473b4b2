import assert from "node:assert/strict";
import { access, mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { Meter } from "../../../src/agent/meter/meter";
import { COARSE_MS } from "../../../src/agent/meter/recorder";
import { readStat, send } from "../../../src/agent/processes/identity";
import { quantile } from "../../../src/model/gate/histogram";
import type { SliAnswer } from "../../../src/model/gate/sli";
import type { StepInput } from "../../../src/model/protocol/transaction";
import { startLoad } from "../../load/load";
import { startTarget } from "../../load/target";
import { startTestAgent, type TestAgent } from "../../support/agent";
import { freePorts, freeRange } from "../../support/ports";
import { change } from "../../support/transaction";
import { until } from "../../support/until";
import { promote, releaseFolder } from "../support/pool";

/** Edge `main`, which counts its requests. */
function meteredEdge(port: number): StepInput {
  const frontends = { http: { binds: [{ port }], defaultBackend: "web" } };
  return { verb: "edge.set", edge: "main", spec: { frontends, meter: true } };
}

/** An agent with edge `main`, whose backend `web` has one server: what listens on `upstream`. */
async function metered(t: TestContext, upstream: number): Promise<{ agent: TestAgent; port: number }> {
  const agent = await startTestAgent(t);
  const port = await freePorts(1);
  await change(agent.client, "edge/main", [meteredEdge(port)]);
  await change(agent.client, "backend/main/web", [
    {
      verb: "backend.set",
      edge: "main",
      backend: "web",
      spec: { servers: { s1: { address: "127.0.0.1", port: upstream } } },
    },
  ]);
  return { agent, port };
}

/** The answer once it counts this many requests, and none more comes. */
function counted(agent: TestAgent, requests: number, from: number): Promise<SliAnswer> {
  return until(`${requests} requests in the meter`, async () => {
    const answer = await agent.client.sli({ edge: "main", backend: "web", from, to: Date.now() });
    return answer.counts.requests + answer.counts.aborted >= requests ? answer : undefined;
  });
}

const second = (at: number) => at - (at % 1000);

test("the meter agrees with a load generator about counts and quantiles", async (t) => {
  const target = await startTarget({
    request: (request, response, _number) => {
      if (request.url !== "/") return false;
      // Nine of ten at once, the tenth late.
      setTimeout(() => response.end("hello"), count++ % 10 === 0 ? 120 : 20);
      return true;
    },
  });
  let count = 0;
  t.after(() => target.close());
  const { agent, port } = await metered(t, target.port);
  const from = second(Date.now());
  const mix = { rate: 200, connections: 32, postShare: 0, slow: 0, websockets: 2, streams: 1 };
  const load = startLoad({ host: "127.0.0.1", port, mix, websocketSeconds: [1, 2], streamSeconds: [1, 2] });
  await until("some requests", () => load.snapshot().requests >= 800);
  const report = await load.stop();
  assert.equal(report.failed, 0, JSON.stringify(report.failures));
  const all = report.requests + report.websockets + report.streams;
  const answer = await counted(agent, all, from);
  assert.equal(answer.counts.requests, all);
  assert.deepEqual([answer.counts.status5xx, answer.counts.cut, answer.lost], [0, 0, 0]);
  // HAProxy's measurement, in whole milliseconds, lies between the target's own time and the client's.
  const between = (share: number, least: number, most: number) => {
    const read = quantile(answer.head, share) ?? Number.NaN;
    assert.ok(read >= least - 2 && read <= most * 1.01 + 2, `p${share * 100}: ${read} ms, not ${least} to ${most} ms`);
  };
  between(0.5, 20, report.latency.p50);
  between(0.95, 120, report.latency.p95);
});

test("requests are told apart by release, also after the agent's restart", async (t) => {
  const agent = await startTestAgent(t);
  const port = await freePorts(1);
  await change(agent.client, "edge/main", [meteredEdge(port)]);
  const path = await releaseFolder(agent.directory);
  const ports = await freeRange(6);
  const from = second(Date.now());
  for (const release of ["v1", "v2"]) {
    await promote(agent.client, { path, ports, release });
    for (let index = 0; index < 5; index++) await (await fetch(`http://127.0.0.1:${port}/`)).text();
  }
  await counted(agent, 10, from);
  const of = async (release: string) =>
    (await agent.client.sli({ edge: "main", release, from, to: Date.now() })).counts.requests;
  assert.deepEqual([await of("v1"), await of("v2"), await of("v3")], [5, 5, 0]);
  const since = (await agent.client.about()).since;
  await agent.client.shutdown({ restart: true });
  await until("the agent to be back", async () => (await agent.client.about()).since !== since);
  // Earlier counts are read back from disk, in slots of ten seconds.
  const start = from - (from % COARSE_MS);
  const before = await until("the records", async () => {
    const { counts } = await agent.client.sli({ edge: "main", release: "v2", from: start, to: Date.now() });
    return counts.requests === 5 ? counts : undefined;
  });
  assert.equal(before.requests, 5);
});

test("a meter that is killed, stopped or slow costs no request, and what it missed is known", async (t) => {
  const target = await startTarget();
  t.after(() => target.close());
  const { agent, port } = await metered(t, target.port);
  const from = second(Date.now());
  const startSteady = (to: number) => {
    const mix = { rate: 100, connections: 8, postShare: 0, slow: 0, websockets: 0, streams: 0 };
    const load = startLoad({ host: "127.0.0.1", port: to, mix });
    t.after(() => load.stop());
    return load;
  };
  const load = startSteady(port);
  // Past HAProxy at the same time, which shows what of the latency is the machine's.
  const past = startSteady(target.port);
  const further = async (requests: number) => {
    const goal = load.snapshot().requests + requests;
    await until(`${requests} more requests`, () => load.snapshot().requests >= goal);
  };
  await further(100);
  const { pid } = await agent.client.about();
  process.kill(pid, "SIGSTOP");
  await further(300);
  process.kill(pid, "SIGCONT");
  await further(300);
  // Nobody starts the agent again until requests have passed without it.
  const supervisor = readStat(pid)?.parent ?? Number.NaN;
  process.kill(supervisor, "SIGSTOP");
  t.after(() => send(supervisor, "SIGCONT"));
  process.kill(pid, "SIGKILL");
  await further(300);
  process.kill(supervisor, "SIGCONT");
  await until("the agent to be back", async () => (await agent.client.about()).pid !== pid);
  await further(300);
  const [report, beside] = await Promise.all([load.stop(), past.stop()]);
  assert.equal(report.failed, 0, JSON.stringify(report.failures));
  const bound = 5 * beside.latency.p99 + 1000;
  assert.ok(report.latency.p99 <= bound, `p99 ${report.latency.p99} ms, past HAProxy ${beside.latency.p99} ms`);
  // Requests since the restart are there; the killed agent took the seconds before with it.
  await until("lines of the new agent", async () => {
    const { counts } = await agent.client.sli({ edge: "main", from: from - 20_000, to: Date.now() });
    return counts.requests > 0;
  });
});

test("a worker's lines are counted once, whoever reads them before, and what it had to drop is told", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "slm-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const start = 1_800_000_000_000;
  let now = start;
  const line = (at: number) => `${at} 200 -- 0 0 1 2 3 main - web s1\n`;
  // Real HAProxy can't be made to drop exactly so many. Its memory holds what it had before this agent, too.
  const ring = `${line(start - 60_000)}9 events dropped\n${line(start)}<5 events dropped\n7 events dropped\n`;
  const readers = new Set<Socket>();
  const haproxy = createServer((socket) => {
    readers.add(socket);
    socket.on("close", () => readers.delete(socket)).on("error", () => undefined);
    socket.on("data", (command) => {
      socket.write(`Name: HAProxy\nPid: 7\nTainted: 0\n\n${command.includes("events") ? ring : ""}`);
      if (!command.includes("events")) socket.end();
      else socket.write(line(start).slice(0, 20), () => socket.write(line(start).slice(20)));
    });
  });
  const socket = join(directory, "worker.sock");
  await new Promise<void>((resolve) => haproxy.listen(socket, resolve));
  t.after(() => haproxy.close());
  const meter = new Meter({ directory, releaseOf: () => undefined, log: () => undefined, now: () => now });
  await meter.start();
  t.after(() => meter.close());
  now -= 1;
  meter.want({ main: socket });
  now += 1;
  await until("the lines", () => meter.status().lines === 2);
  // One that is cut off reads on where it was.
  for (const reader of readers) reader.destroy();
  await until("the reader to be back", () => meter.status().connected === 1);
  now += 5000;
  const answer = await until("the second to be complete", () => {
    const found = meter.query({ edge: "main", from: start, to: now });
    return found.lost > 0 && found.counts.requests > 0 ? found : undefined;
  });
  assert.deepEqual([answer.lost, answer.counts.requests], [7, 2]);
  assert.equal(meter.status().malformed, 1);
  assert.match(
    meter.exposition(),
    /sluice_requests_total\{edge="main",route="",backend="web",server="s1",release=""\} 2/,
  );
  assert.match(meter.exposition(), /sluice_request_duration_seconds_bucket\{[^}]*le="0.001"\} 2/);
});

test("an edge that is not metered has no answer, which is not an answer of zero", async (t) => {
  const agent = await startTestAgent(t);
  const port = await freePorts(1);
  const spec = { meter: false, frontends: { http: { binds: [{ port }], defaultBackend: "web" } } };
  await change(agent.client, "edge/main", [{ verb: "edge.set", edge: "main", spec }]);
  const query = { from: Date.now() - 1000, to: Date.now() };
  await assert.rejects(agent.client.sli({ edge: "main", ...query }), { code: "no-meter" });
  await assert.rejects(agent.client.sli({ edge: "other", ...query }), { code: "not-found" });
  await assert.rejects(agent.client.sli({ edge: "main", from: 5, to: 5 }), { code: "invalid" });
  const config = await readFile(join(agent.directory, "edges", "main", "haproxy.cfg"), "utf8");
  assert.doesNotMatch(config, /log-format/);
  await access(agent.directory);
});
