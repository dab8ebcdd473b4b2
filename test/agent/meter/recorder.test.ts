import assert from "node:assert/strict";
import test from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { emptyLine, parseLine } from "../../../src/agent/meter/line";
import { COARSE_KEPT_MS, COARSE_MS, Recorder } from "../../../src/agent/meter/recorder";
import { MAX_SERIES } from "../../../src/agent/meter/series";
import { bucketOf, countOf, quantile } from "../../../src/model/gate/histogram";

const START = 1_800_000_000_000;

function recorder(options: Partial<ConstructorParameters<typeof Recorder>[1]> = {}): Recorder {
  return new Recorder(START, { releaseOf: () => undefined, ...options });
}

const line = emptyLine();
/** Feeds a line as HAProxy writes it. */
function feed(to: Recorder, text: string): void {
  const bytes = Buffer.from(text);
  assert.ok(parseLine(bytes, 0, bytes.length, line), text);
  to.record(line);
}

function advance(to: Recorder, from: number, until: number): void {
  for (let now = from; now <= until; now += 500) to.tick(now);
}

test("a line is read field by field, and what is no line is refused", () => {
  const text = "1800000000123 200 -- 1 2 30 35 4711 edge - web web-1-0";
  const bytes = Buffer.from(`junk${text}\n`);
  assert.ok(parseLine(bytes, 4, 4 + text.length, line));
  const { at, status, queueMs, connectMs, headMs, totalMs, bytes: sent, key } = line;
  assert.deepEqual(
    { at, status, queueMs, connectMs, headMs, totalMs, sent, key },
    {
      at: START + 123,
      status: 200,
      queueMs: 1,
      connectMs: 2,
      headMs: 30,
      totalMs: 35,
      sent: 4711,
      key: "edge - web web-1-0",
    },
  );
  for (const wrong of [
    "",
    "5 events dropped",
    "1800000000123 200 --",
    "1800000000123 x -- 1 2 3 4 5 e - b s",
    "1 2 -- 1 2 3 4 5 ",
  ])
    assert.equal(parseLine(Buffer.from(wrong), 0, wrong.length, line), false, wrong);
});

test("requests are told apart by how they ended", () => {
  const meter = recorder();
  const lines = [
    "200 -- 0 0 5 6 100",
    "404 -- 0 0 5 6 100",
    "500 -- 0 0 5 6 100",
    // Refused by the server, timed out in the queue, timed out waiting for the head.
    "503 SC 0 0 -1 7 100",
    "503 sQ 9 -1 -1 9 100",
    "504 sH 0 0 -1 60000 100",
    // Cut off by the server in the middle of the answer.
    "200 SD 0 0 5 30 100",
    // Given up by the client: before the answer, in the middle of it, and while it sent its request.
    "400 CH 0 0 -1 900 0",
    "200 CD 0 0 5 900 50",
    "408 cR -1 -1 -1 10000 100",
    // An error that the client did not read to its end is an error nevertheless.
    "500 CD 0 0 5 6 10",
    // A WebSocket that lasted an hour and was cut by a restart.
    "101 SD 0 0 8 3600000 100",
  ];
  for (const text of lines) {
    const [status, ...rest] = text.split(" ");
    feed(meter, `${START + 10} ${status} ${rest.join(" ")} edge - web s1`);
  }
  advance(meter, START, START + 4000);
  const { counts, head, total, waited = [] } = meter.query({ edge: "edge", from: START, to: START + 1000 });
  // The head of one that was given up later is known, and how long another one was waited for; a request that never came
  // as a whole was waited for by nobody.
  assert.equal(countOf(head), 10);
  assert.deepEqual(waited, [[bucketOf(900), 1]]);
  assert.deepEqual(counts, {
    requests: 9,
    aborted: 3,
    status4xx: 1,
    status5xx: 5,
    connect: 1,
    cut: 1,
    bytes: 960,
  });
  assert.equal(quantile(head, 0.5), 6 - 1);
  assert.ok(Math.abs((quantile(head, 1) ?? 0) - 60_000) <= 600);
  // The WebSocket's hour is no latency of anything.
  assert.ok((quantile(total, 1) ?? 0) < 61_000);
});

test("windows are cut to the second, and series told apart by every part of their name", () => {
  const releases: Record<string, string> = { "web-1-0": "v1", "web-2-0": "v2" };
  const meter = recorder({ releaseOf: (_edge, _backend, server) => releases[server] });
  for (let second = 0; second < 20; second++) {
    meter.tick(START + second * 1000 + 500);
    feed(meter, `${START + second * 1000 + 100} 200 -- 0 0 ${second} 9 10 edge shop web web-1-0`);
    feed(meter, `${START + second * 1000 + 100} 500 -- 0 0 1 9 10 edge - web web-2-0`);
    feed(meter, `${START + second * 1000 + 100} 200 -- 0 0 1 9 10 other - web web-1-0`);
  }
  advance(meter, START + 20_000, START + 24_000);
  const requests = (selector: object, from = 0, to = 20_000) =>
    meter.query({ edge: "edge", ...selector, from: START + from, to: START + to }).counts.requests;
  assert.equal(requests({}), 40);
  assert.equal(requests({ release: "v1" }), 20);
  assert.equal(requests({ release: "v2" }, 5000, 8000), 3);
  assert.equal(requests({ route: "shop" }), 20);
  assert.equal(requests({ server: "web-2-0" }, 4001, 6999), 1);
  assert.equal(requests({ backend: "api" }), 0);
  assert.equal(requests({ edge: "other" }), 20);
  const answer = meter.query({ edge: "edge", release: "v1", from: START + 5000, to: START + 10_000 });
  assert.deepEqual([answer.from, answer.to, answer.coveredMs], [START + 5000, START + 10_000, 5000]);
  assert.equal(quantile(answer.head, 1), 9);
});

test("time without a meter is not covered, unlike time without requests", () => {
  const meter = recorder();
  advance(meter, START, START + 30_000);
  assert.equal(meter.query({ edge: "edge", from: START + 5000, to: START + 15_000 }).coveredMs, 10_000);
  assert.equal(meter.query({ edge: "edge", from: START - 60_000, to: START - 1000 }).coveredMs, 0);
  // It stood still for 40 seconds.
  advance(meter, START + 70_000, START + 80_000);
  const { coveredMs } = meter.query({ edge: "edge", from: START + 20_000, to: START + 75_000 });
  assert.ok(coveredMs >= 10_000 && coveredMs <= 17_000, String(coveredMs));
});

test("old windows are read from coarse slots, and nothing is kept for longer than a day and two hours", () => {
  const meter = recorder();
  const end = START + COARSE_KEPT_MS + 2 * 3_600_000;
  for (let now = START; now <= end; now += 5000) {
    meter.tick(now);
    feed(meter, `${now} 200 -- 0 0 7 9 10 edge - web s1`);
  }
  meter.tick(end + 4000);
  const hour = meter.query({ edge: "edge", from: end - 7_200_000, to: end - 3_600_000 });
  assert.equal(hour.counts.requests, 720);
  assert.equal(hour.coveredMs, 3_600_000);
  assert.equal(meter.query({ edge: "edge", from: START, to: START + 3_600_000 }).coveredMs, 0);
  const day = meter.query({ edge: "edge", from: end - 86_400_000, to: end });
  assert.ok(Math.abs(day.counts.requests - 17_280) <= 2, String(day.counts.requests));
  assert.ok(meter.bytes < 4 * 1024 * 1024, String(meter.bytes));
});

test("a window from before the meter's first second has all that was counted since", () => {
  const begun = START + 3000;
  const meter = new Recorder(begun, { releaseOf: () => undefined });
  for (let now = begun; now < begun + 20_000; now += 500) {
    meter.tick(now);
    feed(meter, `${now} 200 -- 0 0 7 9 10 edge - web s1`);
  }
  advance(meter, begun + 20_000, begun + 24_000);
  for (const from of [begun - 60_000, begun - 1, begun]) {
    const { counts, coveredMs } = meter.query({ edge: "edge", from, to: begun + 20_000 });
    // The second in which it began is counted, and not covered as a whole.
    assert.deepEqual([counts.requests, coveredMs], [40, 19_000], String(from - begun));
  }
});

test("memory stays bounded however many servers come and go", () => {
  const meter = recorder();
  for (let index = 0; index < 20_000; index++) {
    if (index % 100 === 0) meter.tick(START + index);
    feed(meter, `${START + index} 200 -- 0 0 7 9 10 edge - web s${index}`);
  }
  advance(meter, START + 20_000, START + 24_000);
  assert.ok([...meter.series.all()].length <= MAX_SERIES + 1);
  assert.equal(meter.query({ edge: "edge", from: START, to: START + 20_000 }).counts.requests, 20_000);
});

/** Memory that is in use once what is not needed has been collected, in bytes. */
function used(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

test("millions of lines take no more memory than their slots, and each is counted", () => {
  const meter = recorder();
  const before = used();
  const [seconds, perSecond, servers] = [600, 5000, 300];
  // As HAProxy's lines come: in chunks of a second, of many servers, with a long tail of latencies.
  const rest = Array.from({ length: perSecond }, (_, index) => {
    const ms = Math.round(10 / (1 - (index % 997) / 997));
    return ` 200 -- 0 0 ${ms} ${ms} 100 edge shop web s${index % servers}\n`;
  });
  for (let second = 0; second < seconds; second++) {
    const at = START + second * 1000;
    meter.tick(at);
    const chunk = Buffer.from(rest.map((text) => at + text).join(""));
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      if (parseLine(chunk, start, end, line)) meter.record(line);
      start = end + 1;
    }
  }
  const end = START + seconds * 1000;
  advance(meter, end, end + 4000);
  assert.equal(meter.query({ edge: "edge", from: START, to: end }).counts.requests, seconds * perSecond);
  const grown = used() - before;
  assert.ok(grown < 64 * 1024 * 1024, `${Math.round(grown / 1024 / 1024)} MiB`);
});

test("what was recorded for a day stays within its budget: the oldest goes first", () => {
  const meter = recorder();
  const data = new Uint8Array(100 * 1024);
  const slots = Array.from({ length: 1000 }, (_, index) => {
    return { start: START - (1000 - index) * COARSE_MS, lengthMs: COARSE_MS, coveredMs: COARSE_MS, lost: {}, data };
  });
  meter.restore(slots);
  assert.ok(meter.bytes <= 64 * 1024 * 1024, String(meter.bytes));
  const coveredMs = (from: number, to: number) =>
    meter.query({ edge: "none", from: START - from * COARSE_MS, to: START - to * COARSE_MS }).coveredMs;
  assert.deepEqual([coveredMs(1000, 990), coveredMs(10, 0)], [0, 10 * COARSE_MS]);
});

test("a server's name that an undone release had before is told apart by release", () => {
  let release = "v2";
  const meter = recorder({ releaseOf: () => release });
  feed(meter, `${START + 100} 500 -- 0 0 1 9 10 edge - web web-2-0`);
  meter.tick(START + 1500);
  release = "v3";
  feed(meter, `${START + 1100} 200 -- 0 0 1 9 10 edge - web web-2-0`);
  advance(meter, START + 2000, START + 6000);
  const counts = (of: string) => meter.query({ edge: "edge", release: of, from: START, to: START + 2000 }).counts;
  assert.deepEqual([counts("v2").requests, counts("v2").status5xx], [1, 1]);
  assert.deepEqual([counts("v3").requests, counts("v3").status5xx], [1, 0]);
});

test("a line that comes late is counted all the same, and one from the future does no harm", () => {
  const meter = recorder();
  advance(meter, START, START + 10_000);
  feed(meter, `${START + 1000} 200 -- 0 0 7 9 10 edge - web s1`);
  feed(meter, `${START + 9_000_000} 200 -- 0 0 7 9 10 edge - web s1`);
  assert.equal(meter.late, 1);
  advance(meter, START + 10_000, START + 15_000);
  assert.equal(meter.query({ edge: "edge", from: START, to: START + 12_000 }).counts.requests, 2);
});

test("a clock that is set back or far ahead does not end the counting", () => {
  const meter = recorder();
  advance(meter, START, START + 20_000);
  for (const jump of [START - 3_600_000, START + 86_400_000]) {
    advance(meter, jump, jump + 1000);
    feed(meter, `${jump + 1200} 200 -- 0 0 7 9 10 edge - web s1`);
    advance(meter, jump + 1500, jump + 6000);
    assert.equal(meter.query({ edge: "edge", from: jump, to: jump + 3000 }).counts.requests, 1);
  }
});

test("a history is the same as a query for each of its windows, also where old slots meet new ones", () => {
  const meter = recorder();
  const end = START + 15 * 60_000;
  for (let now = START; now < end; now += 1000) {
    meter.tick(now);
    const status = now % 7000 === 0 ? 500 : 200;
    feed(meter, `${now} ${status} -- 0 0 ${(now / 1000) % 90} 95 100 edge - web web-1-0`);
  }
  meter.tick(end);
  for (const [from, ms] of [
    [START + 60_000, 10_000],
    [START + 60_000, 60_000],
    [end - 5 * 60_000, 1000],
    [end - 5 * 60_000, 7000],
  ] as const) {
    const windows = meter.history({ edge: "edge", backend: "web", from, to: end }, ms);
    assert.ok(windows.length >= Math.floor((end - from - 5000) / ms));
    for (const [index, window] of windows.entries()) {
      const start = from + index * ms;
      const { counts, head, coveredMs } = meter.query({ edge: "edge", backend: "web", from: start, to: start + ms });
      const found = window();
      assert.deepEqual([found.from, found.counts, found.head, found.coveredMs], [start, counts, head, coveredMs]);
    }
  }
});
