import assert from "node:assert/strict";
import test from "node:test";
import { isMet, render } from "../../bench/support/report";
import { median, percentile } from "../../bench/support/statistics";
import { parse } from "../../bench/support/wrk";

test("medians and percentiles are those of the samples, in whatever order they come", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.equal(median([]), Number.NaN);
  const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);
  assert.equal(percentile(hundred, 99), 99);
  assert.equal(percentile(hundred, 50), 50);
  assert.equal(percentile([7], 99), 7);
});

test("what wrk prints is read with its units and its errors", () => {
  const output = `Running 2s test @ http://127.0.0.1:8080/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   512.10us  301.00us   9.60ms   91.00%
  Latency Distribution
     50%  447.00us
     75%  601.00us
     90%    0.88ms
     99%    1.86ms
  123506 requests in 2.00s, 9.07MB read
  Socket errors: connect 0, read 2, write 1, timeout 3
  Non-2xx or 3xx responses: 4
Requests/sec:  61753.12
Transfer/sec:      4.53MB
`;
  const expected = { requestsPerSecond: 61753.12, p50Ms: 0.447, p99Ms: 1.86, requests: 123506, errors: 10 };
  assert.deepEqual(parse(output), expected);
  assert.throws(() => parse("unable to connect"), /nothing that can be read: unable to connect/);
});

test("a report says of each target whether it is reached, and what failed", () => {
  const targets = [
    { what: "speed", measured: 0.96, unit: "", atLeast: 0.95 },
    { what: "time", measured: 101, unit: "ms", atMost: 100 },
  ];
  assert.deepEqual(targets.map(isMet), [true, false]);
  assert.equal(isMet({ what: "unmeasured", measured: Number.NaN, unit: "", atMost: 1 }), false);
  const machine = { at: "", cpu: "", cores: 2, memoryMiB: 1, kernel: "", node: "", haproxy: "" };
  const text = render({
    name: "some",
    quick: false,
    seconds: 3.4,
    machine: { ...machine, load: { before: 0, after: 0 } },
    parameters: {},
    samples: {},
    summary: { ours: { "median s": 1.5 }, theirs: { "median s": 3, errors: 2 } },
    targets,
    failures: ["2 requests failed"],
    notes: [],
  });
  assert.match(text, /^some, 3 s\n/);
  assert.match(text, /ours +1\.50\n/);
  assert.match(text, /theirs +3 +2\n/);
  assert.match(text, /speed +0\.96 +>= 0\.95 +reached/);
  assert.match(text, /time +101 ms +<= 100 +NOT REACHED/);
  assert.match(text, /FAILED: 2 requests failed/);
});
