import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { until } from "../support/until";
import { spawnLoad } from "./spawn";
import { startTarget } from "./target";

const MIX = { rate: 50, connections: 2, postShare: 0, slow: 0, websockets: 0, streams: 0 };

test("a load in its own process shows its numbers while it runs, and on SIGTERM finishes and reports", async (t) => {
  const target = await startTarget();
  t.after(() => target.close());
  const load = await spawnLoad({ url: `http://127.0.0.1:${target.port}`, mix: MIX, seconds: 30 });
  assert.equal(load.snapshot().running, true);
  await until("the report is renewed", () => load.snapshot().requests > 0);
  const report = await load.stop();

  assert.equal(report.running, false);
  assert.equal(report.failed, 0);
  assert.equal(report.requests, target.seen.get("/"));
  assert.throws(() => process.kill(load.pid, 0), { code: "ESRCH" });
});

test("arguments that make no sense are refused, each with what to give", () => {
  const url = ["--url", "http://127.0.0.1:1"];
  const report = ["--report", "/nowhere/report.json"];
  const cases: [string[], RegExp][] = [
    [[], /--url and --report are needed/],
    [["--url", "nonsense", ...report], /--url and --report are needed/],
    [[...url, ...report, "--rate", "many"], /--rate is "many": give a number from 0 to 100000/],
    [[...url, ...report, "--post-share", "2"], /--post-share is "2": give a number from 0 to 1/],
    [[...url, ...report, "--frequency", "2"], /--frequency/],
    [[...url, ...report], /\/nowhere\/report\.json/],
  ];
  for (const [given, error] of cases) {
    const result = spawnSync(process.execPath, [...process.execArgv, `${__dirname}/main.ts`, ...given], {
      timeout: 60_000,
    });
    assert.equal(result.status, 2, given.join(" "));
    assert.match(result.stderr.toString(), error);
  }
});

test("a load that cannot start is an error, in its own words", async () => {
  const mix = { ...MIX, rate: -1 };
  await assert.rejects(
    spawnLoad({ url: "http://127.0.0.1:1", mix }),
    /ended with 2: load: --rate is "-1": give a number/,
  );
});
