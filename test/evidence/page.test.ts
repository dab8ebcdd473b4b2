import assert from "node:assert/strict";
import test from "node:test";
import { NARROW, WIDE } from "../../src/evidence/chart";
import { renderPage } from "../../src/evidence/page";
import { stageOutcomes } from "../../src/evidence/stages";
import { renderWhole } from "../../src/evidence/whole";
import { evidenceText, formatOffset } from "../../src/evidence/words";
import type { Note } from "../../src/model/evidence/note";
import { type EvidenceRecord, newRecord } from "../../src/model/evidence/record";
import { reduce } from "../../src/model/evidence/reduce";
import { BEGUN, mirrored, sample } from "./sample";

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
    '<p class="verdict"><svg viewBox="0 0 24 24"',
    "Gate sli of stage 10% at +1:41, by 1204 requests",
    '<tr class="broken"><th scope="row">p95</th><td class="measured">812 ms</td><td>limit 500 ms</td><td>\u2717 1.6 \u00d7 the limit</td></tr>',
    '<tr class="holds"><th scope="row">errors</th><td class="measured">0.21 %</td><td>limit 0.5 %</td><td>\u2713 holds</td></tr>',
    '<strong>1%</strong> <span class="state">passed, 1 min</span>',
    '<li class="breached"><span aria-hidden="true">\u2717</span> <strong>10%</strong> <span class="state">breached, 39.5 s of 1 min</span>',
    '<strong>50%</strong> <span class="state">not reached</span>',
    "2026-11-21 16:05:12 UTC, took 1.7 min, by ana as ana@build-7, from <code>9f2c1b7d0a44</code>",
    "\u201cPromote green to 50 %\u201d by Ana Lima",
    "<dt>Job</dt><dd>ci.example/shop/jobs/4711</dd>",
    "<code>9f2c1b7d0a44e5c6b1a9f0e3d2c4b5a697886950</code> on promote-green",
    '<td class="path">split</td><td class="value" data-title="Before"><span class="old">0%</span></td><td class="value" data-title="With the change"><span class="new">10%</span></td>',
    '<td data-title="Must hold">p95 &lt; 500 ms<br>errors &lt; 0.5 %</td>',
    '<td data-title="Probes">3 pass, 1 fail</td>',
    '<td class="number">1204</td><td class="number">0.498 %</td><td class="number">245 ms</td><td class="number">612 ms</td><td class="number">1040 ms</td>',
    '<td class="path">edge main.worker</td><td class="value" data-title="Before"><span class="old">41022</span>',
    "5 observed values are the same",
  ])
    assert.ok(page.includes(expected), expected);
  // Each once for wide screens and paper, and once for phones.
  for (const frame of ["wide", "narrow"])
    assert.equal([...page.matchAll(new RegExp(`<svg class="chart ${frame}"`, "g"))].length, 5);
  // Words for those who do not see the charts: each has a title and a description of its own.
  assert.ok(
    page.includes(
      '<desc id="split-wide-d">What was asked for, step by step: 0% from +0 s, 1% from +1 s, 10% from +1:01.5, 0% from +1:41.3.</desc>',
    ),
  );
  assert.ok(renderPage(sample("committed")).includes('<header class="committed">'));
});

test("a page is well-formed, needs nothing from anywhere, and runs nothing, whatever its texts hold", () => {
  for (const record of [sample(), sample("committed"), mirrored(), hostile()]) {
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

test("all parts of a change are on one page: what became of each, and each by itself, gates but once", () => {
  const [host, edge] = [sample("undone"), sample("undone")];
  const program = { urn: "urn", project: "shop", stack: "prod", group: "g", update: "u" };
  Object.assign(host, { id: "a", target: "pool/web", summary: { from: "v1", to: "v2" }, program });
  const agent = { version: "0.1.0", host: "edge-1" };
  const summary = { from: "node out", to: "node in" };
  Object.assign(edge, { id: "b", target: "backend/main/web", summary, program, agent });
  const page = renderWhole({ records: [edge, host], missing: ["backend/main/web (c) of the agent at /run/c"] });
  assert.match(page, /<title>undone \u00b7 pool\/web: v1 \u2192 v2, in 2 parts<\/title>/);
  assert.match(page, /<strong>Not on this page:<\/strong> backend\/main\/web \(c\) of the agent at \/run\/c\./);
  assert.deepEqual(
    [...page.matchAll(/<a href="#(.*?)">(.*?)<\/a>/g)].map(([, to, text]) => [to, text]),
    [
      ["part-1", "pool/web"],
      ["part-2", "backend/main/web"],
    ],
  );
  assert.equal([...page.matchAll(/<table class="gates/g)].length, 1);
  assert.ok(page.includes("The same as of pool/web on shop-1, above."));
  const ids = [...page.matchAll(/ id="(.*?)"/g)].map(([, id]) => id);
  assert.equal(new Set(ids).size, ids.length);
  const { opened, closed } = tags(page);
  assert.deepEqual(opened, closed);

  const other = Object.assign(sample("committed"), { program: { ...program, group: "h" } });
  const update = renderWhole({ records: [host, other], missing: [] });
  assert.match(update, /<title>1 committed, 1 undone \u00b7 pulumi up of shop\/prod: 2 changes<\/title>/);
  assert.match(update, /<header class="undone"><p class="verdict">.*?<\/svg>1 committed, 1 undone<\/p>/);
  const spoilt = renderWhole({ records: [hostile(), hostile()], missing: ["<script>"] });
  assert.doesNotMatch(spoilt, /<(?:script|img|iframe|object|embed|form|base)\b|href="(?!data:,"|#part-\d")/i);
  assert.deepEqual(tags(spoilt).opened, tags(spoilt).closed);
});

test("charts stay within their frame, with gaps where nothing was measured", () => {
  const record = sample();
  for (const point of record.series[1]?.points.slice(20, 25) ?? []) Object.assign(point, { p95: null, requests: 0 });
  for (const point of record.series[0]?.points.slice(30, 33) ?? []) point.covered = false;
  const page = renderPage(record);
  const charts = page
    .split('<svg class="chart ')
    .slice(1)
    .map((rest) => rest.split("</svg>")[0] ?? "");
  assert.equal(charts.length, 10);
  for (const chart of charts) {
    const { plot } = chart.startsWith("wide") ? WIDE : NARROW;
    for (const [, x, y] of chart.matchAll(/[ML]([\d.-]+) ([\d.-]+)/g)) {
      assert.ok(Number(x) >= plot.left && Number(x) <= plot.right, `x ${x}`);
      assert.ok(Number(y) >= plot.top - 4 && Number(y) <= plot.bottom, `y ${y}`);
    }
    assert.equal([...chart.matchAll(/class="mark breach"/g)].length, 1);
    assert.match(chart, /class="gap"/);
  }
  const p95 = charts[4]?.split('class="line candidate"')[1]?.split("</g>")[0] ?? "";
  assert.equal([...p95.matchAll(/M/g)].length, 2);
});

test("a transaction that was never metered, or has just begun, has a page that says why there are no charts", () => {
  const opened = { id: "x", target: "pool/web", owner: { who: "ana@a", why: "urn", pid: 1 } };
  const record = newRecord(opened, { agent: { version: "1", host: "h" }, begunAt: BEGUN });
  assert.match(renderPage(record), /No charts: nothing is measured yet\./);
  reduce(record, { kind: "ended", at: BEGUN + 500, verdict: "committed" });
  record.unmeasured = "requests were not counted: main is not metered";
  const page = renderPage(record);
  assert.match(page, /No charts: requests were not counted: main is not metered\./);
  assert.match(page, /This change had no gates\./);
  assert.match(page, /There are no diagnostics from before the change/);
});

test("a shadow's answers are charted beside the stable side's, with what was dropped on its way", () => {
  const page = renderPage(mirrored());
  const titles = [...page.matchAll(/<figcaption><h3>(.*?)<\/h3>/g)].map(([, title]) => title);
  assert.deepEqual(titles, [
    "Error ratio: answered with 5xx, or cut off",
    "p95: 95 % of the requests were faster",
    "p99: 99 % of the requests were faster",
    "Requests",
    "Copies of requests for the shadow",
  ]);
  const charts = page.split("<figure>").slice(1);
  const roles = (chart = "") => [
    ...new Set([...chart.matchAll(/class="line (?:crosses )? ?(\w+)"/g)].map(([, role]) => role)),
  ];
  assert.deepEqual(roles(charts[0]), ["stable", "shadow"]);
  assert.deepEqual(roles(charts[1]), ["stable", "shadow"]);
  assert.deepEqual(roles(charts[2]), ["stable", "shadow"]);
  assert.deepEqual(roles(charts[3]), ["stable"]);
  assert.deepEqual(roles(charts[4]), ["shadow", "dropped"]);
  assert.match(charts[1] ?? "", />limit 500 ms for the shadow</);
  const [, lost = ""] = /(\d+) were dropped on their way\.<\/desc>/.exec(charts[4] ?? "") ?? [];
  assert.ok(Number(lost) > 100);
  assert.ok(charts[4]?.includes(`>${lost} dropped</span>`));
  // A cross for each stretch of time in which some were: and nothing where none was.
  const [crosses = ""] =
    /<g class="line crosses dropped"><title>.*?<path d="(?=M\d+\.?\d* \d).*?"/.exec(
      (charts[4] ?? "").split("</figcaption>")[1] ?? "",
    ) ?? [];
  assert.equal([...crosses.matchAll(/M/g)].length, 10);
  assert.ok(page.includes('<th scope="col" class="number">Dropped</th>'));
  assert.ok(page.includes('<td class="number">12</td></tr>'));
});

test("how far each stage came is told without colours, also where a gate refused the first one", () => {
  const states = (record: EvidenceRecord) => stageOutcomes(record).map(({ stage, state }) => `${stage} ${state}`);
  assert.deepEqual(states(sample("undone")), ["1% passed", "10% breached", "50% not reached"]);
  assert.deepEqual(states(sample("committed")), ["1% passed", "10% passed"]);
  const opened = { id: "x", target: "route/api", owner: { who: "ana@a", why: "urn", pid: 1 } };
  const record = newRecord(opened, { agent: { version: "1", host: "h" }, begunAt: BEGUN });
  const note = (each: Note) => reduce(record, { kind: "note", note: each });
  note({ kind: "plan", stages: [{ stage: "dark" }, { stage: "1%" }] });
  note({ kind: "outcome", at: BEGUN + 10, stage: "dark", gate: "parity", outcome: "breach", reason: "3 mismatches" });
  reduce(record, { kind: "undoing", at: BEGUN + 20, ending: "abort", reason: "gate parity: 3 mismatches" });
  reduce(record, { kind: "ended", at: BEGUN + 30, verdict: "undone" });
  assert.deepEqual(states(record), ["dark refused", "1% not reached"]);
  const page = renderPage(record);
  assert.ok(page.includes("route/api was not changed yet: the deployer aborted it."));
  assert.ok(page.includes('<p class="reason">gate parity: 3 mismatches</p>'));

  const long = sample("undone");
  const names = Array.from({ length: 40 }, (_, index) => `s${index + 1}`);
  long.plan = [...names.map((stage) => ({ stage })), ...(long.plan ?? [])];
  long.marks.unshift(...names.map((stage) => ({ at: BEGUN, kind: "stage" as const, text: `stage ${stage}`, stage })));
  const strip = renderPage(long).split('<ol class="stages"')[1]?.split("</ol>")[0] ?? "";
  const items = [...strip.matchAll(/<li.*?<\/li>/g)].map(([item]) => item.replace(/<.*?>/g, "").trim());
  assert.deepEqual(items, [
    "39 more passed",
    "\u2713 s40 passed, 1.1 s",
    "\u2713 1% passed, 1 min",
    "\u2717 10% breached, 39.5 s of 1 min",
    "\u00b7 50% not reached",
  ]);

  const lost = sample("undone");
  for (const gate of lost.gates) if (gate.outcome === "breach") gate.outcome = "ended";
  assert.deepEqual(states(lost), ["1% passed", "10% stopped", "50% not reached"]);
});

test("a terminal gets the same in lines", () => {
  const text = evidenceText(sample(), "/var/lib/sluice/evidence/x");
  assert.match(text, /^verdict {6}undone: route\/api is as it was before: the deployer aborted it\n/);
  assert.match(text, /\nrevision {5}9f2c1b7d0a44e5c6b1a9f0e3d2c4b5a697886950 \(promote-green\)\n/);
  assert.match(text, /\ngates {8}pass {2}stage 1%, sli: p95 351 ms/);
  assert.match(text, /\n {13}breach {2}stage 10%, sli: failed: p95 812 ms, not/);
});

test("times since the begin are short and exact", () => {
  const shown = [0, 240, -15_000, 59_960, 61_500, 101_300, 7_205_000].map(formatOffset);
  assert.deepEqual(shown, ["+0 s", "+0.2 s", "\u221215 s", "+1:00", "+1:01.5", "+1:41.3", "+2:00:05"]);
});
