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
    "max_over_time(x[30m:])": [30 * MINUTE],
    "sum by (le) (up) + up": [0, "up"],
    'queue{app="shop"} / on (app) group_left () capacity': [0, 'queue{app="shop"}', "capacity"],
    '{"my.metric"} # up[5m]': [0, '{"my.metric"}'],
    "sum(rate(x[1m])) / scalar(up)": [MINUTE, "up"],
    // It asks for another time than now.
    "rate(x[5m]) / rate(x[5m] offset 1d)": [5 * MINUTE],
    "x / x offset 1w": [0, "x"],
    "x @ start() + 1": [0],
    "rate(x[1m]) + y / z @ 1609746000": [MINUTE, "y"],
    "vector(1)": [0],
  };
  for (const [query, [rangeMs, ...instants]] of Object.entries(reaches))
    assert.deepEqual(reachOf(query), { rangeMs, instants }, query);
});

test("a query that can't be read is refused with the place", () => {
  const refused: Record<string, RegExp> = {
    "sum(rate(": /^Error: "sum\(rate\(" is not PromQL near "sum\(rate\(": correct it$/,
    "rate(x[5m * 2])":
      /^Error: the range "\[5m \* 2\]" of the query "rate\(x\[5m \* 2\]\)" can't be read: write one duration, such as \[5m\]$/,
  };
  for (const [query, message] of Object.entries(refused)) assert.throws(() => reachOf(query), message, query);
});
