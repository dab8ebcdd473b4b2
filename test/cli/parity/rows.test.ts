import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import test from "node:test";
import { until } from "../../support/until";
import { between, OURS, THEIRS } from "../support/parity";
import { type Answering, dataBy, serve } from "../support/servers";
import { bench, scores } from "../support/sluice";

test("two systems with the same rows are clean, in any order of rows and keys, to the precision", async (t) => {
  const { upstream, candidate, parity, report } = await between(
    t,
    [
      { id: 1, score: 0.1234561 },
      { id: 2, tags: ["a", "b"] },
      { id: 2, tags: ["a", "b"] },
    ],
    [
      { tags: ["a", "b"], id: 2 },
      { score: 0.1234564, id: 1.0 },
      { tags: ["a", "b"], id: 2 },
    ],
  );
  const { code, stdout, stderr } = await parity([scores("chess", { day: "2026-11-21", top: [1, 2], none: null })]);
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /clean: 1 requests with 3 rows are the same on both sides\n$/);
  const { clean, requests, rows, errors, timing, mismatches, options } = await report();
  assert.equal(clean, true);
  assert.deepEqual(requests, {
    total: 1,
    compared: 1,
    equal: 1,
    "missing-in-candidate": 0,
    "extra-in-candidate": 0,
    different: 0,
    error: 0,
  });
  assert.deepEqual(rows, { upstream: 3, candidate: 3, equal: 3, missing: 0, extra: 0 });
  assert.deepEqual([errors, mismatches], [{}, []]);
  assert.equal(options.precision, 6);
  assert.equal(timing.upstream.count, 1);
  assert.ok((timing.candidate.p99 ?? 0) > 0);
  for (const { seen } of [upstream, candidate]) {
    assert.equal(seen[0]?.method, "GET");
    assert.equal(seen[0]?.url.split("?")[1], "day=2026-11-21&top=1&top=2");
  }
});

test("each class of mismatch is told by its own name, with the rows", async (t) => {
  const answers: Record<string, [unknown, unknown]> = {
    missing: [[{ id: 1 }, { id: 2 }], [{ id: 1 }]],
    extra: [[{ id: 1 }], [{ id: 1 }, { id: 3 }]],
    duplicate: [[{ id: 1 }, { id: 1 }], [{ id: 1 }]],
    different: [
      [
        { id: 1, name: "a", score: 1.5 },
        { id: 2, name: "b", score: 2 },
      ],
      [
        { id: 2, name: "b", score: "2" },
        { id: 1, name: "a", score: 1.500002 },
      ],
    ],
    kinds: [[{ id: 1 }], { id: 1 }],
    equal: [{ id: 1 }, { id: 1 }],
  };
  const side = (index: 0 | 1) =>
    Object.fromEntries(
      Object.entries(answers).map(([game, both]) => [
        index === 0 ? OURS.replace("chess", game) : THEIRS.replace("chess", game),
        both[index],
      ]),
    );
  const { parity, report } = await bench(t, await serve(t, dataBy(side(0))), await serve(t, dataBy(side(1))));
  const { code, stdout } = await parity(Object.keys(answers).map((game) => scores(game)));
  assert.equal(code, 1);
  assert.match(
    stdout,
    /line 4 scores of different \{\}: different \(2 missing, 2 extra\)\n {2}~ score: 1.5 upstream, 1.500002 candidate/,
  );
  const { requests, mismatches, verdict } = await report();
  assert.equal(verdict, "not clean: of 6 requests, 5 differ and 0 failed");
  assert.equal(requests.equal, 1);
  assert.deepEqual(
    mismatches.map((each) => [each.line, each.class, each.request?.game]),
    [
      [1, "missing-in-candidate", "missing"],
      [2, "extra-in-candidate", "extra"],
      [3, "missing-in-candidate", "duplicate"],
      [4, "different", "different"],
      [5, "different", "kinds"],
    ],
  );
  assert.deepEqual(mismatches[0]?.diff?.missing, [{ id: 2 }]);
  assert.deepEqual(mismatches[1]?.diff?.extra, [{ id: 3 }]);
  assert.deepEqual(mismatches[3]?.diff?.different, [
    { same: { id: 1, name: "a" }, fields: [{ field: "score", upstream: 1.5, candidate: 1.500002 }], fieldsNotShown: 0 },
    { same: { id: 2, name: "b" }, fields: [{ field: "score", upstream: 2, candidate: "2" }], fieldsNotShown: 0 },
  ]);
  assert.equal(mismatches[4]?.diff?.note, "one side's data is a list, the other's is not");
});

test("--precision and --pointer say what is compared", async (t) => {
  const answer =
    (score: number): Answering =>
    (_, response) =>
      response.end(JSON.stringify({ data: 7, result: { rows: [score] } }));
  const { parity } = await bench(t, await serve(t, answer(1.014)), await serve(t, answer(1.012)));
  const at = (precision: string) => parity([scores("chess")], ["--pointer", "/result/rows", "--precision", precision]);
  assert.equal((await at("2")).code, 0);
  assert.equal((await at("3")).code, 1);
});

test("nothing compared is not clean", async (t) => {
  const { parity, report } = await between(t, [], []);
  for (const [lines, verdict] of [
    [[], "nothing compared: there was no request"],
    [["", " "], "nothing compared: there was no request"],
    [[{ game: "chess", query: "gone" }], "nothing compared: all 1 requests failed"],
    [[scores("chess")], "nothing compared: all 1 requests came back without rows from both sides"],
  ] as const) {
    const { code, stdout } = await parity(lines);
    assert.equal(code, 1);
    assert.ok(stdout.endsWith(`${verdict}\n`), stdout);
    assert.equal((await report()).verdict, verdict);
  }
});

test("--limit and --sample take some of the lines and count the others; --stop-after ends the run", async (t) => {
  const { parity, report, upstream } = await between(t, [1], [2]);
  const lines = Array.from({ length: 300 }, () => scores("chess"));
  await parity(lines, ["--limit", "7"]);
  assert.deepEqual([(await report()).requests.total, (await report()).lines.limited], [7, true]);
  await parity(lines, ["--sample", "10%", "--details", "2"]);
  const sampled = await report();
  const { requests, lines: read, mismatches } = sampled;
  assert.ok((requests.total ?? 0) > 10 && (requests.total ?? 0) < 60);
  assert.equal((requests.total ?? 0) + Number(read.notSampled), 300);
  assert.deepEqual(mismatches.map(({ diff }) => diff !== undefined).slice(0, 3), [true, true, false]);
  await parity(lines, ["--sample", "10%"]);
  assert.deepEqual(
    (await report()).mismatches.map(({ line }) => line),
    mismatches.map(({ line }) => line),
  );
  upstream.seen.length = 0;
  const { code } = await parity(lines, ["--stop-after", "3", "--concurrency", "2"]);
  const stopped = await report();
  assert.deepEqual([code, stopped.requests.total], [1, 3]);
  assert.equal(stopped.verdict, "not finished: stopped after 3 mismatches and errors");
  assert.ok(upstream.seen.length < 10);
});

test("a run that is interrupted still writes what it found, and is not clean", async (t) => {
  const upstream = await serve(t, ({ url }, response) => {
    if (!url.includes("stuck")) response.end('{"data": [1]}');
  });
  const { parity, report, folder } = await bench(t, upstream, upstream, {
    scores: OURS.replace("chess", "{game}").replace("prod", "{env}"),
  });
  let pid = 0;
  const run = parity([scores("chess"), scores("stuck")], ["--concurrency", "1"], {
    onStart: (started) => {
      pid = started;
    },
  });
  await until(
    "both requests to be under way",
    () => upstream.seen.filter(({ url }) => url.includes("stuck")).length === 2,
  );
  process.kill(pid, "SIGINT");
  const { code, stdout } = await run;
  assert.equal(code, 1, stdout);
  assert.match(stdout, /not finished: stopped by SIGINT/);
  assert.equal((await report()).requests.equal, 1);
  assert.deepEqual(readdirSync(folder).sort(), ["mapping.json", "parity.json", "requests.jsonl"]);
});

test("lines come from the standard input, and the summary goes out as JSON", async (t) => {
  const { parity } = await between(t, [9007199254740991], [9007199254740991]);
  const { code, stdout, stderr } = await parity([], ["--requests", "-", "--json"], {
    stdin: `\uFEFF${JSON.stringify(scores("chess"))}\r\n${JSON.stringify(scores("chess"))}`,
  });
  assert.equal(code, 0, stderr);
  const summary = JSON.parse(stdout);
  assert.deepEqual([summary.tool, summary.clean, summary.requests.equal], ["sluice parity", true, 2]);
});
