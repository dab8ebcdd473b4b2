import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { after, describe, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "../support/until";
import { type Load, type LoadMix, type LoadOptions, startLoad } from "./load";
import { type LoadReport, Recorder } from "./report";
import { type FakeTarget, type Misbehaviour, startTarget } from "./target";
import { exchange } from "./traffic/exchange";
import { Lane } from "./traffic/lane";

const NOTHING: LoadMix = { rate: 0, connections: 1, postShare: 0, slow: 0, websockets: 0, streams: 0 };
/** Ample for a machine on which everything else runs at the same time. */
const DEADLINE_MS = 60_000;
/** Longer than a target must at least keep an idle connection, see `lane.ts`. */
const IDLE_MS = 600;
const SLOW_SECONDS = 0.2;
/** Rest after a failed attempt, see `keepRunning`. */
const FAILURE_PAUSE_SECONDS = 0.25;

/** All that were started: a test that fails in the middle leaves its load running. */
const loads: Load[] = [];

function start(port: number, mix: Partial<LoadMix>, options: Partial<LoadOptions> = {}): Load {
  const load = startLoad({
    host: "127.0.0.1",
    port,
    mix: { ...NOTHING, ...mix },
    slowSeconds: SLOW_SECONDS,
    websocketSeconds: [0.3, 0.5],
    streamSeconds: [0.2, 0.3],
    ...options,
  });
  loads.push(load);
  return load;
}

async function target(context: TestContext, misbehaviour?: Misbehaviour): Promise<FakeTarget> {
  const started = await startTarget(misbehaviour);
  context.after(() => started.close());
  return started;
}

/** Runs a load until its numbers suffice, and reports. */
async function runUntil(load: Load, enough: (report: LoadReport) => boolean): Promise<LoadReport> {
  await until("the load has done enough", () => enough(load.snapshot()), { deadlineMs: DEADLINE_MS });
  return load.stop();
}

// Side by side, since they mostly wait.
describe("load", { concurrency: true }, () => {
  after(() => Promise.all(loads.map((load) => load.stop())));

  test("a target that behaves: every kind runs, nothing fails, and the numbers are those that the target counted", async (t) => {
    const { port, seen } = await target(t);
    const mix = { rate: 200, connections: 4, postShare: 0.25, slow: 2, websockets: 2, streams: 2 };
    const report = await runUntil(
      start(port, mix),
      ({ requests, websockets, streams }) => requests >= 200 && websockets >= 3 && streams >= 3,
    );

    const { failed, websocketsCut, streamsCut, reopened, failures, running } = report;
    assert.deepEqual(
      { failed, websocketsCut, streamsCut, reopened, failures, running },
      { failed: 0, websocketsCut: 0, streamsCut: 0, reopened: 0, failures: [], running: false },
    );
    const [gets = 0, posts = 0, slow = 0] = ["/", "/echo", "/slow"].map((path) => seen.get(path));
    assert.equal(report.requests, gets + posts + slow);
    assert.equal(report.websockets, seen.get("/ws"));
    assert.equal(report.streams, seen.get("/events"));
    assert.deepEqual(report.byVersion, { fake: gets + posts });
    assert.equal(posts, Math.floor((gets + posts) / 4));
    // After a stall of this process a POST opens one of its own.
    const least = mix.connections + mix.slow;
    assert.ok(report.connections >= least && report.connections < least + posts / 2, `${report.connections}`);
    assert.ok((report.firstSeen.fake ?? 0) >= report.startedAt && (report.lastSeen.fake ?? 0) <= report.endedAt);
    const { p50, p95, p99, max } = report.latency;
    assert.ok(0 < p50 && p50 <= p95 && p95 <= p99 && p99 <= max, JSON.stringify(report.latency));
  });

  test("a WebSocket that the target closes is cut", async (t) => {
    const { port } = await target(t, {
      message(socket, number) {
        if (number === 2) socket.close(1012, "restarting");
        return number === 2;
      },
    });
    const report = await runUntil(start(port, { websockets: 1 }), ({ websockets }) => websockets >= 1);

    assert.equal(report.websocketsCut, report.websockets);
    assert.match(report.failures[0]?.error ?? "", /closed by the other side with 1012 restarting \(2 of \d+ echoes\)/);
    assert.equal(report.failures[0]?.kind, "websocket");
  });

  test("a WebSocket that misses an echo is cut, in the middle as at the end", async (t) => {
    const { port } = await target(t, { message: (_socket, number) => number === 1 });
    const long = start(port, { websockets: 1 }, { websocketSeconds: [20, 20] });
    const middle = await runUntil(long, ({ websockets }) => websockets >= 1);
    assert.equal(middle.websocketsCut, middle.websockets);
    assert.match(middle.failures[0]?.error ?? "", /"message 2" came where "message 1" was due/);

    const short = start(port, { websockets: 1 }, { websocketSeconds: [0.15, 0.15], timeoutMs: 3000 });
    const end = await runUntil(short, ({ websockets }) => websockets >= 1);
    assert.equal(end.websocketsCut, end.websockets);
    assert.match(end.failures[0]?.error ?? "", /an echo is missing after 3000 ms \(1 of 2 echoes\)/);
  });

  test("a stream that drops an event is cut", async (t) => {
    const { port } = await target(t, { event: (_response, number) => number === 2 });
    const report = await runUntil(start(port, { streams: 1 }), ({ streams }) => streams >= 1);

    assert.equal(report.streamsCut, report.streams);
    assert.match(report.failures[0]?.error ?? "", /event 3 came where 2 was due \(after 2 events\)/);
  });

  test("a stream that ends early is cut, politely or not", async (t) => {
    let polite = true;
    const { port } = await target(t, {
      event(response, number) {
        if (number !== 1) return false;
        if (polite) response.end();
        else response.destroy();
        return true;
      },
    });
    const politely = await runUntil(start(port, { streams: 1 }), ({ streams }) => streams >= 1);
    assert.equal(politely.streamsCut, politely.streams);
    assert.match(politely.failures[0]?.error ?? "", /ended early \(after 1 events\)/);

    polite = false;
    const rudely = await runUntil(start(port, { streams: 1 }), ({ streams }) => streams >= 1);
    assert.equal(rudely.streamsCut, rudely.streams);
    assert.match(rudely.failures[0]?.error ?? "", /cut: aborted \(after 1 events\)/);
  });

  test("a request that is reset has failed: after its head, on a new connection, as a POST, or after a while", async (t) => {
    let reset: NonNullable<Misbehaviour["request"]> = () => false;
    const { port } = await target(t, { request: (...all) => reset(...all) });
    const destroyed = (response: ServerResponse): true => {
      response.destroy();
      return true;
    };
    const cases: [name: string, mix: Partial<LoadMix>, reset: typeof reset, error: RegExp][] = [
      [
        "after its head",
        {},
        (_request, response) => {
          response.writeHead(200, { "content-length": "100" });
          response.write("half", () => response.destroy());
          return true;
        },
        /GET \/: cut after its head: aborted/,
      ],
      ["on a new connection", {}, (_request, response) => destroyed(response), /GET \/: socket hang up/],
      [
        "as a POST",
        { postShare: 1 },
        (_request, response, number) => number === 2 && destroyed(response),
        /POST \/echo: socket hang up/,
      ],
      [
        "after a while",
        {},
        (_request, response, number) => {
          if (number === 2) setTimeout(() => response.destroy(), 400);
          return number === 2;
        },
        /GET \/: socket hang up/,
      ],
    ];
    for (const [name, mix, misbehave, error] of cases) {
      reset = misbehave;
      const report = await runUntil(start(port, { rate: 50, ...mix }), ({ requests }) => requests >= 4);
      assert.ok(report.failed >= 1, name);
      assert.equal(report.reopened, 0, name);
      assert.match(report.failures[0]?.error ?? "", error, name);
    }
  });

  test("a wrong status and an answer that never comes have failed", async (t) => {
    let silent = false;
    const { port } = await target(t, {
      request(_request, response) {
        if (!silent) response.writeHead(503).end();
        return true;
      },
    });
    const refused = await runUntil(start(port, { rate: 20 }), ({ requests }) => requests >= 2);
    assert.equal(refused.failed, refused.requests);
    assert.match(refused.failures[0]?.error ?? "", /GET \/: answered 503/);

    silent = true;
    // Those behind it on its connection are not even sent.
    const hanging = await runUntil(start(port, { rate: 20 }, { timeoutMs: 200 }), ({ failures }) =>
      failures.some(({ error }) => error === "GET /: no complete answer within 200 ms"),
    );
    assert.equal(hanging.failed, hanging.requests);
  });

  test("a GET whose connection ends as it is sent goes once more where that was idle, which is counted as reopened", async (t) => {
    const { port, seen } = await target(t, {
      request(request, _response, number) {
        if (number > 1) request.socket.destroy();
        return number > 1;
      },
    });
    const recorder = new Recorder();
    const lane = new Lane();
    t.after(() => lane.close());
    const get = (idleMs: number) =>
      sleep(idleMs).then(() =>
        exchange({ host: "127.0.0.1", port }, { method: "GET", path: "/", timeoutMs: 60_000 }, lane, recorder),
      );
    assert.equal((await get(0)).status, 200);
    assert.equal((await get(IDLE_MS)).status, 200);
    const { reopened, sent } = recorder.snapshot(false);
    assert.deepEqual({ reopened, sent, seen: seen.get("/") }, { reopened: 1, sent: 3, seen: 3 });

    const busy = await runUntil(start(port, { rate: 100 }), ({ failed }) => failed > 0);
    assert.match(busy.failures[0]?.error ?? "", /GET \/: socket hang up/);
  });

  test("idle connections that the target closes in time cost nothing but new connections", async (t) => {
    const { port } = await target(t, { keepAliveTimeoutMs: 20 });
    const report = await runUntil(start(port, { rate: 4 }), ({ requests }) => requests >= 4);

    assert.deepEqual({ failed: report.failed, failures: report.failures }, { failed: 0, failures: [] });
    assert.ok(report.connections >= 3, `${report.connections} connections`);
  });

  test("a target that vanishes makes failures at the load's own pace, and one that returns is served again", async (t) => {
    const first = await startTarget();
    t.after(() => first.close());
    const begun = performance.now();
    const load = start(first.port, { rate: 50, connections: 2, slow: 1, websockets: 1, streams: 1 });
    await until("requests are served", () => load.snapshot().requests >= 10, { deadlineMs: DEADLINE_MS });
    await first.close();
    const count = (report: LoadReport): number => report.failed + report.websocketsCut + report.streamsCut;
    await until("refusals are counted", () => count(load.snapshot()) >= 30, { deadlineMs: DEADLINE_MS });
    const { requests, websocketsCut, streamsCut } = load.snapshot();
    // By the clock of the load's own schedule, which makes up for stalls of a busy machine: no sum of attempts exceeds it.
    const seconds = (performance.now() - begun) / 1000;
    const slow = seconds / SLOW_SECONDS + 1;
    assert.ok(requests <= seconds * 50 + 1 + slow, `${requests} requests in ${seconds} s`);
    const rested = seconds / FAILURE_PAUSE_SECONDS + 1;
    assert.ok(websocketsCut <= rested && streamsCut <= rested, `${websocketsCut}, ${streamsCut} in ${seconds} s`);

    const second = await startTarget({}, first.port);
    t.after(() => second.close());
    await until("requests are served again", () => (second.seen.get("/") ?? 0) >= 10, { deadlineMs: DEADLINE_MS });
    await until("WebSockets are open again", () => second.seen.has("/ws"), { deadlineMs: DEADLINE_MS });
    const report = await load.stop();
    assert.ok(report.failures.some(({ error }) => /GET \/: connect ECONNREFUSED/.test(error)));
  });

  test("latency counts from the intended time: those who had to wait behind a stall show it", async (t) => {
    const STALL_MS = 500;
    const RATE = 100;
    let end: () => void = () => undefined;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    let stalled = false;
    const { port } = await target(t, {
      request(_request, response) {
        if (stalled) return false;
        stalled = true;
        setTimeout(() => {
          response.end("late");
          end();
        }, STALL_MS);
        return true;
      },
    });
    const load = start(port, { rate: RATE });
    await ended;
    // At once: however late the machine is, all requests were meant for the time of the stall.
    const report = await load.stop();

    assert.equal(report.failed, 0);
    assert.ok(report.latency.max >= STALL_MS - 1, `max ${report.latency.max}`);
    // They waited evenly from 500 ms to 0. A closed loop would have had one slow request, and no other.
    assert.ok(report.requests >= (0.8 * STALL_MS * RATE) / 1000, `${report.requests} requests`);
    const { p50, p95 } = report.latency;
    assert.ok(p95 >= 0.6 * STALL_MS && p50 >= 0.4 * STALL_MS, `p50 ${p50}, p95 ${p95}`);
  });
});
