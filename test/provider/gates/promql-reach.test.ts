import assert from "node:assert/strict";
import test from "node:test";
import { reachOf } from "../../../src/provider/gates/promql-reach";

const MINUTE = 60_000;

test("a query's reach is its longest range, those of subqueries added", () => {
  const reaches: Record<string, [rangeMs: number, ...instants: string[]]> = {
    "rate(x[5m])": [5 * MINUTE],
    "rate(x[1h30m]) / rate(y[90])": [90 * MINUTE],
    'rate(x{path="[1h]",a=~"}"}[250ms])': [250],
    "max_over_time(rate(x[5m])[30m:1m]) > 0": [35 * MINUTE],
    "max_over_time(x[30m:])": [35 * MINUTE],
    "sum by (le) (up) + up": [0, "up"],
    'queue{app="shop"} / on (app) group_left () capacity': [0, 'queue{app="shop"}', "capacity"],
    '{"my.metric"} # up[5m]': [0, '{"my.metric"}'],
    "sum(rate(x[1m])) / scalar(up)": [MINUTE, "up"],
    // Each step of a subquery sees the newest sample, however old.
    "max_over_time(queue[1m:10s])": [6 * MINUTE],
    "max_over_time((queue > rate(x[10m]))[1m:])": [11 * MINUTE],
    // It asks for another time than now.
    "rate(x[5m]) / rate(x[5m] offset 1d)": [5 * MINUTE],
    "x / x offset 1w": [0, "x"],
    "x @ start() + 1": [0],
    "rate(x[1m]) + y / z @ 1609746000": [MINUTE, "y"],
    "vector(1)": [0],
    // All of it waits for late samples.
    "rate(errors[5m] offset 1m) / rate(requests[10m] offset 1m)": [11 * MINUTE],
    "queue offset 30s": [5 * MINUTE + 30_000],
    "rate(x[5m] offset -1m)": [5 * MINUTE],
  };
  for (const [query, [rangeMs, ...instants]] of Object.entries(reaches))
    assert.deepEqual(reachOf(query), { rangeMs, instants }, query);
});

test("a query that can't be read is judged after the longest time for which Prometheus shows a sample", () => {
  const unread: Record<string, RegExp> = {
    "sum(rate(": /^"sum\(rate\(" can't be read as PromQL near "sum\(rate\("$/,
    "rate(x[5m * 2])": /^"\[5m \* 2\]" of the query "rate\(x\[5m \* 2\]\)" can't be read as one duration$/,
  };
  for (const [query, message] of Object.entries(unread)) {
    const { problem = "", ...reach } = reachOf(query);
    assert.deepEqual(reach, { rangeMs: 5 * MINUTE, instants: [] });
    assert.match(problem, message);
  }
});
