import assert from "node:assert/strict";
import test from "node:test";
import { gate } from "../../../src/model/gate/gate";
import {
  compares,
  comparison,
  comparisonOf,
  errorRatioQuery,
  errorRatioTemplate,
  quantileQuery,
  quantileTemplate,
} from "../../../src/model/gate/promql";
import { formatThreshold, holds, parseThreshold } from "../../../src/model/gate/threshold";
import { NEW_WATCH, nextDecision, type Verdict } from "../../../src/model/gate/verdict";

test("thresholds are read with their units", () => {
  assert.deepEqual(parseThreshold("p95 < 500 ms"), { metric: "p95", inclusive: false, limit: 500 });
  assert.deepEqual(parseThreshold("total p99<=1.5s"), { metric: "total p99", inclusive: true, limit: 1500 });
  assert.deepEqual(parseThreshold("5xx < 0.5%"), { metric: "5xx", inclusive: false, limit: 0.005 });
  for (const [text, says] of [
    ["p95", /is not a threshold: write one such as/],
    ["p96 < 5 ms", /"p96", which is not measured: use one of errors, 5xx/],
    ["p95 < 500", /has no unit: write one, such as "p95 < 500 ms"/],
    ["p95 < 5 %", /has the unit "%", but p95 is a time/],
    ["5xx < 5 ms", /has the unit "ms", but 5xx is a share/],
    ["5xx < 500 %", /is always true/],
    ["p95 > 500 ms", /compares with ">"/],
    ["p95 < -5 ms", /has no limit/],
    ["p95 < 1.2.3 ms", /has no limit/],
  ] as const)
    assert.match(String(parseThreshold(text)), says, text);
});

test("what is no number holds no threshold", () => {
  const threshold = { metric: "p95", inclusive: false, limit: 500 } as const;
  assert.equal(holds(threshold, 499), true);
  assert.equal(holds(threshold, 500), false);
  assert.equal(holds({ ...threshold, inclusive: true }, 500), true);
  assert.equal(holds(threshold, Number.NaN), false);
  assert.equal(formatThreshold(threshold, 310.4), "p95 310 ms < 500 ms");
  assert.equal(formatThreshold(threshold, 812), "p95 812 ms, not < 500 ms");
  assert.equal(formatThreshold(threshold, undefined), "p95 - < 500 ms");
  assert.equal(formatThreshold({ metric: "5xx", inclusive: false, limit: 0.005 }, 0.001), "5xx 0.1 % < 0.5 %");
});

test("gates are told apart by kind, and all problems of one are reported", () => {
  const problems = (input: unknown) =>
    gate.safeParse(input).error?.issues.map(({ path, message }) => `${path.join(".")}: ${message}`) ?? [];
  assert.deepEqual(problems({ kind: "sli", thresholds: ["p95 < 500 ms"] }), []);
  assert.match(problems({ kind: "sli" }).join(), /thresholds: is empty/);
  assert.match(
    problems({ kind: "sli", thresholds: ["p95 < 5", "x < 5 ms"] }).join("\n"),
    /thresholds\.0: .*\n.*thresholds\.1: /,
  );
  assert.match(
    problems({ kind: "sli", thresholds: ["p95 < 5 ms"], interval: "-3 seconds" }).join(),
    /interval: "-3 seconds"/,
  );
  assert.match(problems({ kind: "sli", thresholds: ["p95 < 5 ms"], window: "-1 hour" }).join(), /window: "-1 hour"/);
  assert.match(problems({ kind: "http", url: "ftp://x" }).join(), /url: "ftp:\/\/x" is not a URL of HTTP/);
  assert.match(
    problems({ kind: "soak", duration: "2 days", thresholds: ["5xx < 1 %"] }).join(),
    /duration: .*out of range/,
  );
  const prometheus = { kind: "sli", source: "prometheus", url: "http://127.0.0.1:9090" };
  assert.match(problems({ ...prometheus, must: "< 1" }).join(), /exactly one of query, quantile and errorRatio/);
  assert.match(problems({ ...prometheus, query: "up", must: "about 1" }).join(), /must: "about 1" is not a comparison/);
  assert.deepEqual(problems({ ...prometheus, query: "up", must: "> 0" }), []);
  assert.equal(problems({ kind: "hope" }).length, 1);
});

test("comparisons are in Prometheus' base units", () => {
  const limit = (text: string) => comparisonOf(comparison.parse(text)).limit;
  assert.deepEqual([limit("< 500 ms"), limit("<= 0.5 %"), limit("> 3"), limit(">= 1e-3")], [0.5, 0.005, 3, 0.001]);
  assert.equal(compares(comparisonOf("> 3"), Number.NaN), false);
});

test("templates give PromQL", () => {
  const quantile = quantileTemplate.parse({ metric: "request_seconds", quantile: 0.95, labels: { app: 'a"b' } });
  assert.equal(
    quantileQuery(quantile),
    'histogram_quantile(0.95, sum by (le) (rate(request_seconds_bucket{app="a\\"b"}[300000ms])))',
  );
  assert.equal(
    errorRatioQuery(errorRatioTemplate.parse({ metric: "requests_total", over: "1 minute" })),
    '(sum(rate(requests_total{code=~"5.."}[60000ms])) or sum(rate(requests_total[60000ms])) * 0) / sum(rate(requests_total[60000ms]))',
  );
});

/** Runs verdicts a second apart through a watch of 3 seconds; `|` stands for its end. */
function outcome(
  verdicts: Verdict[],
  { windowMs = 3000, filledMs = 0, failureLimit = 1, unavailableLimit = 3 } = {},
): string {
  let watch = NEW_WATCH;
  for (const [index, verdict] of verdicts.entries()) {
    const next = nextDecision(watch, { verdict, text: "why" }, index * 1000, {
      windowMs,
      filledMs,
      failureLimit,
      unavailableLimit,
    });
    watch = next.watch;
    if (next.decision.kind !== "continue")
      return `${next.decision.kind} ${index}${next.decision.kind === "breach" ? ` ${next.decision.reason}` : ""}`;
  }
  return "continue";
}

test("a watch ends with a pass at its window's end, or at the first limit", () => {
  const [p, f, i, u] = ["pass", "fail", "insufficient", "unavailable"] as const;
  assert.equal(outcome([p, p, p]), "continue");
  assert.equal(outcome([p, p, p, p]), "pass 3");
  assert.equal(outcome([i, p, p, p]), "pass 3");
  assert.equal(outcome([p, f]), "breach 1 failed: why");
  assert.equal(outcome([f, p, f, p], { failureLimit: 2 }), "pass 3");
  assert.equal(outcome([f, u, f], { failureLimit: 2 }), "breach 2 failed 2 times in a row: why");
  assert.equal(outcome([u, u, u]), "breach 2 unavailable 3 times in a row: why");
  assert.equal(outcome([u, u, p, u, p]), "pass 4");
  assert.equal(outcome([p, p, p, i]), "breach 3 insufficient at the end of the window of 3 s: why");
  // A gate that is unavailable at the end is asked again until it is decided.
  assert.equal(outcome([p, p, p, u, u, u]), "breach 5 unavailable 3 times in a row: why");
  assert.equal(outcome([p, p, p, u, p]), "pass 4");
  assert.equal(outcome([p], { windowMs: 0 }), "pass 0");
  assert.equal(outcome([i], { windowMs: 0 }), "breach 0 insufficient: why");
  assert.equal(outcome([u, f], { windowMs: 0 }), "breach 1 failed: why");
  // More samples come by themselves until then.
  assert.equal(outcome([i, i, p], { windowMs: 0, filledMs: 3000 }), "pass 2");
  assert.equal(outcome([i, i, f], { windowMs: 0, filledMs: 3000 }), "breach 2 failed: why");
  assert.equal(
    outcome([i, i, i, i], { windowMs: 1000, filledMs: 3000 }),
    "breach 3 insufficient at the end of the window of 1 s: why",
  );
});
