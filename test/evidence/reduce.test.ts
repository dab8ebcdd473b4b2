import assert from "node:assert/strict";
import test from "node:test";
import { clip, differences, flatten } from "../../src/model/evidence/differences";
import { type EvidenceRecord, evidenceRecord, newRecord } from "../../src/model/evidence/record";
import { type Entry, readLog, reduce } from "../../src/model/evidence/reduce";
import { outdated } from "../../src/model/evidence/retention";
import { BEGUN, sample } from "./sample";

const OPENED = {
  id: "3c2d5f0e-7a71-4f0f-9d5b-0c9a51a2c3d4",
  target: "route/api",
  owner: { who: "ana@a", why: "urn", pid: 1 },
};
const empty = () => newRecord(OPENED, { agent: { version: "1", host: "h" }, begunAt: BEGUN });

test("a log gives the record again, however often it was begun anew, and a cut line costs only itself", () => {
  const entries: Entry[] = [
    { kind: "mark", mark: { at: BEGUN, kind: "begin", text: "begins" } },
    { kind: "note", note: { kind: "stage", at: BEGUN + 1, stage: "1%", split: 100 } },
    {
      kind: "note",
      note: { kind: "probe", at: BEGUN + 2, stage: "1%", gate: "sli", verdict: "pass", text: "ok", values: {} },
    },
    { kind: "undoing", at: BEGUN + 3, ending: "abort", reason: "no" },
    { kind: "ended", at: BEGUN + 4, verdict: "undone" },
  ];
  const whole = empty();
  for (const entry of entries) reduce(whole, entry);
  for (let cut = 0; cut <= entries.length; cut++) {
    const begun = empty();
    for (const entry of entries.slice(0, cut)) reduce(begun, entry);
    const lines = [begun, ...entries.slice(cut)].map((each) => `${JSON.stringify(each)}\n`).join("");
    assert.deepEqual(readLog(lines), { record: JSON.parse(JSON.stringify(whole)), bad: 0 });
  }
  const torn = `${JSON.stringify(empty())}\n{"kind":"mark","ma\n${JSON.stringify(entries[4])}\n`;
  assert.deepEqual([readLog(torn)?.bad, readLog(torn)?.record.verdict], [1, "undone"]);
  assert.equal(readLog('{"version":1,'), undefined);
  assert.equal(readLog(""), undefined);
});

test("a record stays within bounds, whatever is noted, and keeps what matters", () => {
  const record = empty();
  reduce(record, { kind: "change", at: BEGUN, changes: [], summary: undefined, sides: [], split: 0 });
  for (let index = 0; index < 20_000; index++) {
    const at = BEGUN + index;
    const verdict = index % 1000 === 999 ? ("fail" as const) : ("pass" as const);
    reduce(record, {
      kind: "note",
      note: { kind: "probe", at, stage: `${index % 20}`, gate: `g${index % 3}`, verdict, text: "x", values: {} },
    });
    reduce(record, { kind: "mark", mark: { at, kind: "remark", text: "x" } });
    reduce(record, { kind: "change", at, changes: [], summary: undefined, sides: [], split: index % 10_000 });
    reduce(record, {
      kind: "note",
      note: { kind: "gates", stage: `s${index}`, gates: [{ gate: "g", kind: "http", limits: [], bounds: [] }] },
    });
  }
  reduce(record, { kind: "ended", at: BEGUN + 20_000, verdict: "undone" });
  assert.ok(record.dropped > 0);
  assert.ok(record.marks.length <= 502);
  assert.ok(record.splits.length <= 501);
  assert.ok(record.gates.length <= 300);
  const kept = record.gates.flatMap(({ measurements }) => measurements);
  assert.ok(kept.length <= 5000, `${kept.length}`);
  const probes = record.gates.reduce((sum, { probes: { pass, fail } }) => sum + pass + fail, 0);
  assert.equal(probes + record.gates.filter(({ gate }) => gate === "none").length <= 20_000, true);
  assert.ok(kept.some(({ verdict }) => verdict === "fail"));
  assert.equal(record.marks.at(-1)?.kind, "end");
  assert.ok(JSON.stringify(record).length < 2 * 1024 * 1024);
});

test("the verdict of an end stands, and what an undo put back ends with it", () => {
  const committed = empty();
  reduce(committed, { kind: "undoing", at: BEGUN, ending: "lease", reason: "too late: it was committed" });
  reduce(committed, { kind: "ended", at: BEGUN + 1, verdict: "committed", ending: "commit" });
  assert.deepEqual([committed.verdict, committed.ending, committed.reason], ["committed", "commit", undefined]);
  const record = sample();
  assert.deepEqual(
    record.splits.map(({ parts }) => parts),
    [0, 100, 1000, 0],
  );
  assert.deepEqual(
    record.gates.map(({ outcome }) => outcome),
    ["pass", "pass", "breach", "ended"],
  );
  assert.deepEqual(evidenceRecord.parse(JSON.parse(JSON.stringify(record))), JSON.parse(JSON.stringify(record)));
});

test("a gate's last notes count also where they arrive after the end", () => {
  const record = empty();
  const stage = "10%";
  reduce(record, {
    kind: "note",
    note: { kind: "gates", stage, gates: [{ gate: "sli", kind: "sli", limits: [], bounds: [] }] },
  });
  reduce(record, { kind: "ended", at: BEGUN + 1, verdict: "undone", ending: "abort" });
  assert.equal(record.gates[0]?.outcome, "ended");
  reduce(record, {
    kind: "note",
    note: { kind: "outcome", at: BEGUN, stage, gate: "sli", outcome: "breach", reason: "bad" },
  });
  assert.deepEqual(
    record.gates.map(({ kind, outcome, reason }) => [kind, outcome, reason]),
    [["sli", "breach", "bad"]],
  );
});

test("differences are by path; hidden values show only that they differ; long ones are cut", () => {
  const before = flatten({
    a: 1,
    list: ["x", "y"],
    env: { KEY: `${"k".repeat(400)}1`, GONE: "z" },
    same: { deep: true },
  });
  const after = flatten({ a: 2, list: ["x"], env: { KEY: `${"k".repeat(400)}2`, NEW: "z" }, same: { deep: true } });
  assert.deepEqual(
    differences(before, after, (path) => path.startsWith("env.")),
    [
      { path: "a", from: "1", to: "2" },
      { path: "list", from: '["x","y"]', to: '["x"]' },
      { path: "env.KEY", from: "(hidden)", to: "(hidden), changed" },
      { path: "env.GONE", from: "(hidden)", to: null },
      { path: "env.NEW", from: null, to: "(hidden)" },
    ],
  );
  assert.equal(clip("x".repeat(1000)).length, 303);
});

test("the oldest evidence goes by number, age and size, and the newest one never", () => {
  const folder = (name: string, begunAt: number, bytes = 10) => ({ name, begunAt, bytes });
  const all = [folder("c", 300), folder("a", 100), folder("b", 200)];
  const DAY = 86_400_000;
  const bounds = { count: 10, days: 1, size: "1000 B" as const };
  assert.deepEqual(outdated(all, 400, bounds), []);
  assert.deepEqual(outdated(all, 400, { ...bounds, count: 2 }), ["a"]);
  assert.deepEqual(outdated(all, DAY + 150, bounds), ["a"]);
  assert.deepEqual(outdated(all, 400, { ...bounds, size: "25 B" }), ["a"]);
  assert.deepEqual(outdated(all, 9 * DAY, { count: 0, days: 1, size: "0 B" }), ["b", "a"]);
  assert.deepEqual(outdated([folder("big", 1, 5000)], 2, bounds), []);
});

test("the backends of one update count as one change, and give way to every other change", () => {
  const folder = (name: string, begunAt: number, update?: string) => ({ name, begunAt, bytes: 10, update });
  const many = Array.from({ length: 300 }, (_, index) => folder(`b${index}`, 200 + index, "one"));
  const all = [folder("older", 100), folder("promotion", 150), ...many, folder("newest", 1000, "two")];
  const bounds = { count: 3, days: 1, size: "1 MiB" as const };
  assert.deepEqual(outdated(all, 2000, bounds), ["older"]);
  assert.equal(outdated(all, 2000, { ...bounds, count: 2 }).length, 2);
  const short = outdated(all, 2000, { ...bounds, count: 4, size: "1000 B" });
  assert.equal(short.length, 203);
  assert.ok(
    short.every((name) => /^b\d/.test(name)),
    short.join(),
  );
});

test("a record of a newer agent with more in it is read", () => {
  const record = { ...sample(), more: 1 } as EvidenceRecord;
  assert.equal(evidenceRecord.parse(record).id, record.id);
});
