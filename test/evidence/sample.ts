import { type EvidenceRecord, newRecord, type Point } from "../../src/model/evidence/record";
import { reduce } from "../../src/model/evidence/reduce";

export const BEGUN = Date.parse("2026-11-21T16:05:12Z");
const SECOND = 1000;

/** The record of a rollout of route api from 0 % to 10 %, whose second stage is breached by slow answers. */
export function sample(verdict: "committed" | "undone" = "undone"): EvidenceRecord {
  const opened = {
    ...{ id: "3c2d5f0e-7a71-4f0f-9d5b-0c9a51a2c3d4", target: "route/api" },
    owner: { who: "ana@build-7", why: "urn:pulumi:prod::shop::sluice:index:Route::api-route", pid: 4711 },
  };
  const record = newRecord(opened, { agent: { version: "0.1.0", host: "shop-1" }, begunAt: BEGUN });
  const at = (seconds: number) => BEGUN + seconds * SECOND;
  const mark = (seconds: number, kind: "begin" | "phase", text: string) =>
    reduce(record, { kind: "mark", mark: { at: at(seconds), kind, text } });
  mark(0, "begin", "ana@build-7 begins");
  record.splits.push({ at: at(0), parts: 0 });
  reduce(record, { kind: "before", look: { at: at(0.02), notes: [], values: look("0%", 41_022) } });
  const program = {
    ...{ urn: opened.owner.why, project: "shop", stack: "prod", name: "api-route", type: "sluice:index:Route" },
    git: {
      ...{ revision: "9f2c1b7d0a44e5c6b1a9f0e3d2c4b5a697886950", branch: "promote-green", dirty: false },
      ...{ subject: "Promote green to 50 %", author: "Ana Lima" },
    },
    ci: { url: "ci.example/shop/jobs/4711", actor: "ana" },
    update: "b3a2c1d0-5e6f-4a7b-8c9d-0e1f2a3b4c5d",
  };
  reduce(record, { kind: "note", note: { kind: "program", at: at(0.1), program } });
  const step = (seconds: number, split: number) => {
    mark(seconds, "phase", `route api: ${split / 100}% to the candidate`);
    reduce(record, {
      ...{ kind: "change", at: at(seconds), split, summary: { from: "0%", to: `${split / 100}%` } },
      changes: [{ path: "split", from: "0%", to: `${split / 100}%` }],
      sides: [
        { role: "stable", label: "blue (v1)", edges: ["main"], route: "api", backend: "blue" },
        { role: "candidate", label: "green (v2)", edges: ["main"], route: "api", backend: "green" },
      ],
    });
  };
  const stages = [
    { stage: "1%", split: 100, windowMs: 60_000 },
    { stage: "10%", split: 1000, windowMs: 60_000 },
    { stage: "50%", split: 5000, windowMs: 60_000 },
  ];
  reduce(record, { kind: "note", note: { kind: "plan", stages: verdict === "undone" ? stages : stages.slice(0, 2) } });
  const gates = [
    {
      gate: "sli",
      kind: "sli",
      limits: ["p95 < 500 ms", "errors < 0.5 %"],
      bounds: [
        { metric: "p95" as const, limit: 500 },
        { metric: "errors" as const, limit: 0.005 },
      ],
    },
    { gate: "health", kind: "health", limits: ["every server of the candidate is up"], bounds: [] },
  ];
  const stage = (seconds: number, name: string, split: number) => {
    step(seconds, split);
    reduce(record, {
      kind: "note",
      note: { kind: "stage", at: at(seconds + 0.1), stage: name, split, windowMs: 60_000 },
    });
    reduce(record, { kind: "note", note: { kind: "gates", stage: name, gates } });
  };
  const probe = (seconds: number, name: string, gate: string, good: boolean, text: string) => {
    const values: Record<string, number> = good ? {} : { requests: 1204, p95: 812, errors: 0.0021 };
    reduce(record, {
      kind: "note",
      note: { kind: "probe", at: at(seconds), stage: name, gate, verdict: good ? "pass" : "fail", text, values },
    });
  };
  stage(1, "1%", 100);
  for (let second = 11; second <= 61; second += 10) {
    probe(second, "1%", "sli", true, `p95 ${290 + second} ms < 500 ms  errors 0.1 % < 0.5 %`);
    probe(second, "1%", "health", true, "1 server up");
  }
  for (const gate of ["sli", "health"])
    reduce(record, { kind: "note", note: { kind: "outcome", at: at(61), stage: "1%", gate, outcome: "pass" } });
  stage(61.5, "10%", 1000);
  probe(71, "10%", "health", true, "1 server up");
  const slow = verdict === "undone" ? 97 : Number.POSITIVE_INFINITY;
  for (let second = 71; second <= 121 && second < slow + 10; second += 10)
    probe(
      second,
      "10%",
      "sli",
      second < slow,
      second < slow ? "p95 361 ms < 500 ms  errors 0.2 % < 0.5 %" : "p95 812 ms, not < 500 ms (1204 requests)",
    );
  const end = verdict === "undone" ? 101 : 122;
  if (verdict === "undone") {
    const reason = "failed: p95 812 ms, not < 500 ms (1204 requests)";
    const note = {
      kind: "outcome" as const,
      at: at(101),
      stage: "10%",
      gate: "sli",
      outcome: "breach" as const,
      reason,
    };
    reduce(record, { kind: "note", note });
    reduce(record, {
      kind: "undoing",
      at: at(101.05),
      ending: "abort",
      reason: `stage 10% of route api: gate sli: ${reason}`,
    });
  }
  reduce(record, { kind: "ended", at: at(end + 0.3), verdict });
  record.after = { at: at(end + 0.4), notes: [], values: look(verdict === "undone" ? "0%" : "10%", 41_077) };
  record.series = [
    {
      role: "stable",
      points: points(end, (second) => ({
        requests: 420 + wave(second, 30),
        p95: 240 + wave(second, 25),
        p99: 420 + wave(second, 60),
        errors: 0,
      })),
    },
    {
      role: "candidate",
      points: points(end, (second) => {
        const share = second < 1 || second > end ? 0 : second < 61 ? 4 : 46;
        const late = verdict === "undone" && second > 88;
        const p95 = share === 0 ? null : late ? 760 + wave(second, 90) : 300 + wave(second, 70);
        return { requests: share, errors: late ? 0.1 : 0, p95, p99: p95 === null ? null : p95 * 1.6 };
      }),
    },
  ];
  const figures = (role: "stable" | "candidate", requests: number, errors: number, p95: number) => ({
    role,
    requests,
    errors,
    p50: p95 * 0.4,
    p95,
    p99: p95 * 1.7,
  });
  record.stretches = [
    {
      title: "before",
      from: at(-15),
      to: at(0),
      figures: [figures("stable", 3150, 0, 236), { ...figures("candidate", 0, 0, 0), p50: null, p95: null, p99: null }],
    },
    {
      title: "stage 1%",
      from: at(1),
      to: at(61),
      figures: [figures("stable", 12_511, 1, 241), figures("candidate", 121, 0, 322)],
    },
    {
      title: "stage 10%",
      from: at(61),
      to: at(end),
      figures: [figures("stable", 8310, 0, 239), figures("candidate", 1204, 6, 612)],
    },
  ];
  return record;
}

/**
 * The record of a rollout into a stage in which a shadow gets copies of all requests, and is too slow for it: some are
 * dropped.
 */
export function mirrored(): EvidenceRecord {
  const record = sample("undone");
  const at = (seconds: number) => BEGUN + seconds * SECOND;
  const shadow = points(101, (second) => {
    const requests = second < 1 || second > 101 ? 0 : 400;
    const late = second > 80;
    const p95 = requests === 0 ? null : 380 + wave(second, 40) + (late ? 500 : 0);
    const p99 = p95 === null ? null : p95 * 1.4;
    return { requests, errors: late ? 9 : 0, p95, p99, dropped: late && second < 101 ? 60 + wave(second, 20) : 0 };
  });
  record.sides = [
    { role: "stable", label: "blue (v1)", edges: ["main"], route: "api", backend: "blue" },
    { role: "shadow", label: "green (v2)", edges: ["main"], route: "api", backend: "_shadow" },
  ];
  record.summary = { from: "0%, 0% mirrored", to: "0%, 100% mirrored" };
  record.splits = [{ at: at(0), parts: 0 }];
  for (const gate of record.gates) for (const bound of gate.bounds) bound.shadow = true;
  const stable = record.series.filter(({ role }) => role === "stable");
  record.series = [...stable, { role: "shadow", points: shadow }];
  for (const { figures } of record.stretches)
    for (const each of figures) if (each.role === "candidate") Object.assign(each, { role: "shadow", dropped: 12 });
  return record;
}

function wave(second: number, height: number): number {
  return Math.round(height * Math.sin(second / 3) + (height / 3) * Math.sin(second * 1.7));
}

function points(
  end: number,
  value: (second: number) => Pick<Point, "requests" | "errors" | "p95" | "p99" | "dropped">,
): Point[] {
  const all: Point[] = [];
  for (let second = -16; second < end + 8; second += 2) {
    const found = value(second);
    all.push({
      at: BEGUN + second * SECOND,
      ms: 2 * SECOND,
      covered: true,
      p50: found.p95 === null ? null : found.p95 / 2,
      ...found,
    });
  }
  return all;
}

function look(share: string, worker: number): Record<string, string> {
  return {
    "route api.candidate's share.main": share,
    "edge main.haproxy": "running, version 2.6.12",
    "edge main.config": "as declared",
    "edge main.worker": String(worker),
    "edge main.backends.blue.one": "127.0.0.1:20000, up, ready, weight 100, L7OK",
    "edge main.backends.green.one": "127.0.0.1:20001, up, ready, weight 100, L7OK",
  };
}
