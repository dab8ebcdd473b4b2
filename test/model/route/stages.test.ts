import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { formatSplit, parsePercent, SPLIT_PARTS } from "../../../src/model/route/split";
import {
  describeRollout,
  planRollout,
  rolloutProblem,
  soakWarning,
  splitOf,
  stages,
} from "../../../src/model/route/stages";
import { problems } from "../support/pools";

const RUNS = { numRuns: 200 };
const parts = fc.integer({ min: 0, max: SPLIT_PARTS });

test("a split is the same as a text and as a number", () => {
  const table: [string, number | undefined][] = [
    ["0%", 0],
    ["0.01%", 1],
    ["0.1%", 10],
    ["1%", 100],
    ["33.33%", 3333],
    ["100%", 10_000],
    ["100.00%", 10_000],
    ["100.01%", undefined],
    ["0.001%", undefined],
    ["-1%", undefined],
    ["1 %", undefined],
    ["1", undefined],
    ["1e1%", undefined],
    ["%", undefined],
  ];
  for (const [text, split] of table) assert.equal(parsePercent(text), split, text);
  fc.assert(fc.property(parts, (split) => parsePercent(formatSplit(split)) === split));
});

test("what is wrong with stages is said, each with its path", () => {
  const cases: [object[], string[]][] = [
    [[], ["has too few items (0): give at least 1"]],
    [
      [{ split: "10%" }, { split: "10%" }],
      [
        "[1].split: 10% does not rise: it comes after 10%, put the stages in rising order",
        '[1].name: "10%" is the name of stages[0] already: use another',
      ],
    ],
    [
      [{ split: "0%" }],
      [
        '[0].split: 0% is the stage "stable", which is always there: remove it, or give it a name',
        '[0].name: "0%" is the stage without a candidate: use another name',
      ],
    ],
    [
      [{ split: "0%", name: "dark" }, { split: "0%", name: "dark" }, { split: "1%" }, { split: "0%", name: "late" }],
      [
        '[1].name: "dark" is the name of stages[0] already: use another',
        "[3].split: 0% does not rise: it comes after 1%, put the stages in rising order",
      ],
    ],
    // A malformed part hides nothing of the others, nor of the rest of itself.
    [
      [{ split: "10%" }, { split: "5%", window: "-1 seconds" }, { split: "much" }, { split: "5%", gates: 1 }],
      [
        '[1].window: "-1 seconds" is not a duration: write a number, a space and a unit, such as "30 seconds"',
        '[2].split: "much" is not a share of the requests: write "0%" to "100%" with at most two decimals, such as "0.01%" or "10%"',
        "[3].gates: 1 is not a list: give one",
        "[1].split: 5% does not rise: it comes after 10%, put the stages in rising order",
        '[3].name: "5%" is the name of stages[1] already: use another',
      ],
    ],
    [[{ split: "1%", name: "stable" }], ['[0].name: "stable" is the stage without a candidate: use another name']],
    [
      [
        { split: "1%", name: "a" },
        { split: "2%", name: "a" },
      ],
      ['[1].name: "a" is the name of stages[0] already: use another'],
    ],
    [[{ split: 1 }], ['[0].split: 1 is not a share of the requests: write a text such as "10%"']],
    [
      [{ split: "1%", window: "-5 minutes" }],
      ['[0].window: "-5 minutes" is not a duration: write a number, a space and a unit, such as "30 seconds"'],
    ],
  ];
  for (const [given, expected] of cases)
    assert.deepEqual(
      problems(stages, given).map((problem) => problem.replace(/^: /, "").replace(/^(\d+)\./, "[$1].")),
      expected,
    );
});

test("a rollout up goes through every stage between, and one down is one step", () => {
  const list = stages.parse([
    { split: "1%", window: "1 minute" },
    { split: "10%", name: "early", window: "2 minutes" },
    { split: "50%", window: "1 hour", gates: [{ kind: "sli", thresholds: ["p95 < 500 ms"] }] },
    { split: "100%", window: "0 seconds" },
  ]);
  const names = (split: number, to: string) => planRollout(list, { split }, to).steps.map(({ stage }) => stage.name);
  assert.deepEqual(names(0, "100%"), ["1%", "early", "50%", "100%"]);
  assert.deepEqual(names(100, "50%"), ["early", "50%"]);
  assert.deepEqual(names(500, "early"), ["early"]);
  assert.deepEqual(names(1000, "early"), []);
  assert.deepEqual(names(10_000, "1%"), []);
  assert.throws(
    () => planRollout(list, { split: 0 }, "5%"),
    /"5%" is not a stage: use one of "stable", "1%", "early", "50%", "100%"/,
  );
  assert.deepEqual([splitOf(list, "stable"), splitOf(list, "0%"), splitOf(list, "early")], [0, 0, 1000]);
  assert.deepEqual(describeRollout(planRollout(list, { split: 100 }, "50%"), { onBreach: "stable" }), [
    "the candidate goes from 1% to 50% of the requests in 2 stages, at least 1 h in all:",
    "  early (10%) for 2 minutes: no gates",
    "  50% for 1 hour, if it passes:",
    "    sli: p95 < 500 ms, at least 200 requests",
    "a gate that fails at any of them undoes the whole rollout: it goes back to 1%, and then to 0%, and the update fails",
  ]);
  assert.deepEqual(describeRollout(planRollout(list, { split: 5000 }, "0%"), { onBreach: "back" }), [
    "the candidate goes from 50% to 0% of the requests at once, without gates",
  ]);
});

test("stages without requests for the candidate are told apart by their names", () => {
  const list = stages.parse([
    { split: "0%", name: "parity", window: "0 seconds" },
    { split: "0%", name: "shadow", window: "1 hour", mirror: "100%" },
    { split: "1%" },
    { split: "100%" },
  ]);
  const names = (split: number, stage: string | undefined, to: string) =>
    planRollout(list, { split, stage }, to).steps.map((step) => step.stage.name);
  assert.deepEqual(names(0, "stable", "1%"), ["parity", "shadow", "1%"]);
  assert.deepEqual(names(0, undefined, "shadow"), ["parity", "shadow"]);
  assert.deepEqual(names(0, "parity", "100%"), ["shadow", "1%", "100%"]);
  assert.deepEqual(names(0, "shadow", "1%"), ["1%"]);
  for (const to of ["parity", "shadow", "stable", "0%"]) assert.deepEqual(names(0, "shadow", to), [], to);
  // A split that is not the stage's counts alone: a change by hand, or another list of stages.
  assert.deepEqual(names(0, "1%", "1%"), ["parity", "shadow", "1%"]);
  assert.deepEqual(names(100, "shadow", "100%"), ["100%"]);
  assert.deepEqual(names(0, "gone", "parity"), ["parity"]);
  assert.deepEqual(names(50, undefined, "1%"), ["1%"]);

  const describe = (stage: string, to: string) =>
    describeRollout(planRollout(list, { split: 0, stage }, to), { onBreach: "back" });
  assert.deepEqual(describe("parity", "1%"), [
    "the candidate goes from 0% (parity) to 1% of the requests in 2 stages, at least 1.1 h in all:",
    "  shadow (0%), 100% mirrored for 1 hour: no gates",
    "  1% for 5 minutes: no gates",
    "a gate that fails at any of them undoes the whole rollout: it goes back to 0% (parity), and the update fails",
  ]);
  assert.deepEqual(describe("shadow", "stable"), [
    "the route goes from 0% (shadow) to 0% at once, without gates; nobody moves",
  ]);
  assert.deepEqual(describe("shadow", "shadow"), ["the candidate keeps 0% (shadow) of the requests"]);
});

test("what has no requests is judged by its shadow, or not at all", () => {
  const sli = { kind: "sli", thresholds: ["5xx < 1 %"] };
  const soak = { kind: "soak", duration: "1 hour", thresholds: ["5xx < 1 %"] };
  const problemsOf = (gate: object, next: object) =>
    problems(stages, [
      { split: "0%", name: "shadow", gates: [gate] },
      { split: "1%", gates: [next] },
    ]);
  assert.deepEqual(problemsOf({ ...sli, source: "mirror" }, { ...soak, source: "mirror" }), []);
  assert.deepEqual(problemsOf(sli, soak), [
    '0.gates.0.source: judges the candidate\'s requests, of which a split of 0% has none: judge the copies that its shadow answers, with source: "mirror"',
    "1.gates.0.source: judges the candidate's requests in shadow, which has none: judge its shadow's answers, with source: \"mirror\"",
  ]);
});

test("a rollout that one of its soaks must stop is refused before it begins", () => {
  const list = stages.parse([
    { split: "1%", window: "1 minute", gates: [{ kind: "soak", duration: "24 hours", thresholds: ["5xx < 1 %"] }] },
    {
      split: "10%",
      window: "1 minute",
      gates: [
        { kind: "health", window: "1 hour" },
        { kind: "soak", duration: "1 minute", thresholds: ["5xx < 1 %"] },
      ],
    },
    { split: "50%", gates: [{ kind: "soak", name: "a day", duration: "24 hours", thresholds: ["5xx < 1 %"] }] },
  ]);
  assert.equal(rolloutProblem(planRollout(list, { split: 0 }, "10%")), undefined);
  assert.equal(rolloutProblem(planRollout(list, { split: 1000 }, "50%")), undefined);
  assert.equal(
    rolloutProblem(planRollout(list, { split: 100 }, "50%")),
    "stage 50% can't be reached in one rollout: its gate a day needs 10% to be held for 24 hours, but the rollout holds it for 1 h; go to stage 10% first, and continue after that time",
  );
  const day = 86_400_000;
  const early = (held: number | undefined) =>
    soakWarning(planRollout(list, { split: 1000 }, "50%"), held === undefined ? undefined : day - held, day);
  assert.match(early(5_400_000) ?? "", /^stage 50% can't be entered yet: its gate a day needs .* 22\.5 h are missing$/);
  assert.match(early(undefined) ?? "", /24 h are missing/);
  assert.equal(early(day), undefined);
  assert.deepEqual(describeRollout(planRollout(list, { split: 100 }, "10%"), { onBreach: "back" }), [
    "the candidate goes from 1% to 10% of the requests in 1 stage, at least 1 h in all:",
    "  10% for 1 h, if it passes:",
    "    health: all servers up for 1 hour",
    "    soak: 5xx < 1 % over 1 minute in the stage before",
    "a gate that fails at any of them undoes the whole rollout: it goes back to 1%, and the update fails",
  ]);
});

test("bad gates are refused with their paths", () => {
  const gates = [
    { kind: "sli", thresholds: ["p95 < 500"], window: "-1 minutes" },
    { kind: "sli", name: "same", thresholds: ["5xx < 1 ms"] },
    { kind: "health", name: "same" },
    { kind: "sli", source: "prometheus", url: "prometheus:9090", query: "up", must: "up" },
    { kind: "hope" },
  ];
  const messages = problems(stages, [{ split: "1%", gates }]);
  for (const [index, path] of [
    '0.gates.0.window: "-1 minutes" is not a duration',
    '0.gates.0.thresholds.0: "p95 < 500" has no unit: write one, such as "p95 < 500 ms"',
    '0.gates.1.thresholds.0: "5xx < 1 ms" has the unit "ms", but 5xx is a share in %',
    '0.gates.3.url: "prometheus:9090" is not a URL of HTTP: write it with http:// or https://',
    '0.gates.3.must: "up" is not a comparison',
    '0.gates.4.kind: "hope"',
  ].entries())
    assert.ok(messages[index]?.startsWith(path), `${index}: ${messages.join("\n")}`);
  assert.deepEqual(
    problems(stages, [
      {
        split: "1%",
        gates: [
          { kind: "health", name: "same" },
          { kind: "http", url: "http://x", name: "same" },
        ],
      },
      { split: "50%", window: "3 seconds", gates: [{ kind: "sli", thresholds: ["5xx < 1 %"] }] },
      { split: "100%", gates: [{ kind: "sli", notWorseThanStable: { metrics: ["errors"] } }] },
    ]),
    [
      '0.gates.1.name: "same" is the name of gates[0] already: use another',
      "1.gates.0: can't judge a window of 3 seconds, since the meter is some seconds behind: use at least 5 seconds",
      "2.gates.0.notWorseThanStable: has nothing to compare with where all requests go to the candidate: use thresholds in this stage",
    ],
  );
});

test("a rollout rises strictly, ends at its target, skips nothing, and takes the sum of its windows", () => {
  const splits = fc.uniqueArray(fc.integer({ min: 1, max: SPLIT_PARTS }), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(splits, parts, fc.nat(), (unsorted, from, pick) => {
      const sorted = unsorted.toSorted((a, b) => a - b);
      const list = stages.parse(
        sorted.map((split, index) => ({ split: formatSplit(split), window: `${index} seconds` })),
      );
      const to = sorted[pick % sorted.length] ?? 0;
      const rollout = planRollout(list, { split: from }, formatSplit(to));
      const passed = rollout.steps.map(({ split }) => split);
      assert.deepEqual(
        passed,
        sorted.filter((split) => split > from && split <= to),
      );
      assert.equal(passed.at(-1) ?? (to <= from ? to : undefined), to);
      assert.equal(
        rollout.ms,
        passed.reduce((sum, split) => sum + sorted.indexOf(split) * 1000, 0),
      );
    }),
    RUNS,
  );
});
