import assert from "node:assert/strict";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { nextFile, widthOf } from "../../tools/tests/schedule.mjs";
import { readTimes, timeLines, writeTimes } from "../../tools/tests/times.mjs";
import { fakeMachine } from "./doubles";

const root = "/checkout";
const at = (names: readonly string[]) => names.map((name) => `${root}/test/${name}.test.ts`);

test("files start longest first, by what they took here before, or by their folder", () => {
  const times = { "test/agent/slow.test.ts": 200, "test/engine/quick.test.ts": 3 };
  const order: string[] = [];
  const waiting = new Set(at(["agent/new", "agent/slow", "engine/new", "engine/quick", "model/new"]));
  for (;;) {
    const file = nextFile([...waiting], [], { root, times, width: { files: 4, busy: 2 } });
    if (file === undefined) break;
    waiting.delete(file);
    order.push(file);
  }
  assert.deepEqual(order, at(["agent/slow", "engine/new", "agent/new", "engine/quick", "model/new"]));
});

test("files that compute run as many at a time as there are cores, and files that wait beside them", () => {
  const width = widthOf(2);
  assert.deepEqual(width, { files: 4, busy: 2 });
  const next = (waiting: string[], running: string[]) => nextFile(at(waiting), at(running), { root, times: {}, width });
  assert.deepEqual([next(["engine/c", "agent/a"], ["engine/a", "faults/b"])], at(["agent/a"]));
  assert.equal(next(["engine/c"], ["engine/a", "faults/b"]), undefined);
  assert.deepEqual([next(["engine/c"], ["engine/a", "agent/a", "agent/b"])], at(["engine/c"]));
  assert.equal(next(["agent/d"], ["engine/a", "agent/a", "agent/b", "agent/c"]), undefined);
});

test("a run ends with the times of its longest files and their sum", () => {
  const times = new Map(Array.from({ length: 17 }, (_, index) => [`${root}/test/${index}.test.ts`, index + 0.25]));
  const lines = timeLines(times, { root, wall: 75.9 });
  assert.equal(lines.length, 16);
  assert.deepEqual(
    [lines[0], lines[14], lines[15]],
    ["   16.3 s  test/16.test.ts", "    2.3 s  test/2.test.ts", "  140.3 s  in 17 files, which took 1 min 15 s"],
  );
});

test("times are kept from run to run, those of other files as well", (t) => {
  const { folder } = fakeMachine(t);
  assert.deepEqual(readTimes(folder), {});
  writeTimes(folder, new Map([["/elsewhere/a.test.ts", 1]]));
  assert.ok(!existsSync(path.join(folder, ".sluice")));
  for (const [name, seconds] of Object.entries({ a: 1, b: 2.04, c: 3 }))
    writeTimes(folder, new Map([[path.join(folder, "test", `${name}.test.ts`), seconds]]));
  writeTimes(folder, new Map([[path.join(folder, "test", "a.test.ts"), 5]]));
  assert.deepEqual(readTimes(folder), { "test/a.test.ts": 5, "test/b.test.ts": 2, "test/c.test.ts": 3 });
});

test("times that can't be read count as none", (t) => {
  const { folder } = fakeMachine(t);
  mkdirSync(path.join(folder, ".sluice"));
  writeFileSync(path.join(folder, ".sluice", "test-times.json"), "{");
  assert.deepEqual(readTimes(folder), {});
});
