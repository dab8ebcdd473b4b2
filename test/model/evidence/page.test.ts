import assert from "node:assert/strict";
import test from "node:test";
import { fold } from "../../../model/evidence/fold";
import { renderPage } from "../../../model/evidence/page";
import { type EvidenceRecord, newRecord } from "../../../model/evidence/record";
import { evidenceText, formatOffset } from "../../../model/evidence/words";
import { BEGUN, sample } from "./sample";

/** Names of all elements of a page that are opened, and those that are closed. */
function tags(page: string) {
  const names = (pattern: RegExp) => [...page.matchAll(pattern)].map(([, name = ""]) => name);
  const alone = ["meta", "link", "br", "line", "rect", "circle", "path", "!doctype"];
  const opened = [...page.matchAll(/<([!a-z][a-z0-9]*)(?:[^>]*[^/])?>/gi)].map(([, name = ""]) => name.toLowerCase());
  return {
    opened: opened.filter((name) => !alone.includes(name)).toSorted(),
    closed: names(/<\/([a-z0-9]+)>/gi).toSorted(),
  };
}

/** A record whose every text is hostile. */
function hostile(): EvidenceRecord {
  const bad = `"><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;\u0000\ud800\u202e`;
  const spoil = (value: unknown, key = ""): unknown => {
    if (typeof value === "string")
      return ["verdict", "ending", "outcome", "kind", "role", "metric"].includes(key) ? value : bad;
    if (Array.isArray(value)) return value.map((each) => spoil(each, key));
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, spoil(each, name)]));
  };
  const record = spoil(sample()) as EvidenceRecord;
  record.before = { at: BEGUN, notes: [bad], values: { [bad]: bad } };
  record.after = { at: BEGUN, notes: [bad], values: { [bad]: "other" } };
  return record;
}

test("a page shows the verdict, what changed, gates with their limits, and both sides' figures", () => {
  const page = renderPage(sample());
  for (const expected of [
    "<title>undone · route/api: 0% \u2192 10%</title>",
    '<header class="undone">',
    '<p class="reason">stage 10% of route api: gate sli: failed: p95 812 ms, not &lt; 500 ms (1204 requests)</p>',
    "2026-11-21 16:05:12 UTC by ana@build-7, took 1.7 min",
    "<code>9f2c1b7d0a44e5c6b1a9f0e3d2c4b5a697886950</code> on promote-green",
    '<td class="path">split</td><td class="value"><span class="old">0%</span></td><td class="value"><span class="new">10%</span></td>',
    "<td>p95 &lt; 500 ms<br>errors &lt; 0.5 %<br></td>",
    "<td>3 pass, 1 fail</td>",
    '<td class="number">1204</td><td class="number">0.498 %</td><td class="number">245 ms</td><td class="number">612 ms</td><td class="number">1040 ms</td>',
    '<td class="path">edge main.worker</td><td class="value"><span class="old">41022</span>',
    "5 observed values are the same",
  ])
    assert.ok(page.includes(expected), expected);
  assert.equal([...page.matchAll(/<svg class="chart"/g)].length, 5);
  // Words for those who do not see the charts: each has a title and a description of its own.
  assert.ok(
    page.includes(
      '<desc id="split-d">What was asked for, step by step: 0% from +0 s, 1% from +1 s, 10% from +1:01.5, 0% from +1:41.3.</desc>',
    ),
  );
  assert.ok(renderPage(sample("committed")).includes('<header class="committed">'));
});

test("a page is well-formed, needs nothing from anywhere, and runs nothing, whatever its texts hold", () => {
  for (const record of [sample(), sample("committed"), hostile()]) {
    const page = renderPage(record);
    const { opened, closed } = tags(page);
    assert.deepEqual(opened, closed);
    assert.doesNotMatch(page, /<(?:script|img|iframe|object|embed|form|base|a)\b/i);
    assert.doesNotMatch(page.replace(/"[^"]*"/g, '""'), /<[^>]*\son[a-z]+=/i);
    assert.doesNotMatch(page, /(?:src|href|action)="(?!data:,")|url\(|@import|https?:/i);
    assert.doesNotMatch(page, /[\0\ud800-\udfff\u202e]/u);
    assert.doesNotMatch(page, /NaN|Infinity|undefined|\[object/);
  }
});

test("charts stay within their frame, with gaps where nothing was measured", () => {
  const record = sample();
  for (const point of record.series[1]?.points.slice(20, 25) ?? []) Object.assign(point, { p95: null, requests: 0 });
  for (const point of record.series[0]?.points.slice(30, 33) ?? []) point.covered = false;
  const page = renderPage(record);
  const charts = page
    .split('<svg class="chart"')
    .slice(1)
    .map((rest) => rest.split("</svg>")[0] ?? "");
  for (const chart of charts) {
    for (const [, x, y] of chart.matchAll(/[ML]([\d.-]+) ([\d.-]+)/g)) {
      assert.ok(Number(x) >= 74 && Number(x) <= 886, `x ${x}`);
      assert.ok(Number(y) >= 36 && Number(y) <= 184, `y ${y}`);
    }
    assert.equal([...chart.matchAll(/class="mark breach"/g)].length, 1);
    assert.match(chart, /class="gap"/);
  }
  const p95 = charts[2]?.split('class="line candidate"')[1]?.split("</g>")[0] ?? "";
  assert.equal([...p95.matchAll(/M/g)].length, 2);
});

test("a transaction that was never metered, or has just begun, has a page that says why there are no charts", () => {
  const opened = { id: "x", target: "pool/web", owner: { who: "ana@a", why: "urn", pid: 1 } };
  const record = newRecord(opened, { agent: { version: "1", host: "h" }, begunAt: BEGUN });
  assert.match(renderPage(record), /No charts: nothing is measured yet\./);
  fold(record, { kind: "ended", at: BEGUN + 500, verdict: "committed" });
  record.unmeasured = "requests were not counted: main is not metered";
  const page = renderPage(record);
  assert.match(page, /No charts: requests were not counted: main is not metered\./);
  assert.match(page, /This change had no gates\./);
  assert.match(page, /There is no look before the change/);
});

test("a terminal gets the same in lines", () => {
  const text = evidenceText(sample(), "/var/lib/sluice/evidence/x");
  assert.match(text, /^verdict {6}undone: route\/api is as it was before: the deploying side gave it up\n/);
  assert.match(text, /\nrevision {5}9f2c1b7d0a44e5c6b1a9f0e3d2c4b5a697886950 \(promote-green\)\n/);
  assert.match(text, /\ngates {8}pass {2}stage 1%, sli: p95 351 ms/);
  assert.match(text, /\n {13}breach {2}stage 10%, sli: failed: p95 812 ms, not/);
});

test("times since the begin are short and exact", () => {
  const shown = [0, 240, -15_000, 59_960, 61_500, 101_300, 7_205_000].map(formatOffset);
  assert.deepEqual(shown, ["+0 s", "+0.2 s", "\u221215 s", "+1:00", "+1:01.5", "+1:41.3", "+2:00:05"]);
});
