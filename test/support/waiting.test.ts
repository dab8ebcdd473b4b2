import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import test from "node:test";
import { Mutex, type WaitClock, waitFor, withTimeout } from "../../src/support/waiting";

/** A clock on which only pauses take time. */
function testClock(): WaitClock & { pauses: number[] } {
  let now = 1000;
  const pauses: number[] = [];
  return {
    pauses,
    now: () => now,
    sleep: async (ms) => {
      pauses.push(ms);
      now += ms;
    },
  };
}

test("a condition is looked at before the first pause, and gives its answer", async () => {
  const clock = testClock();
  assert.equal(await waitFor(() => 0, { everyMs: 5 }, clock), 0);
  assert.deepEqual(clock.pauses, []);
  const answers = [undefined, false, "there"];
  assert.equal(await waitFor(async () => answers.shift(), { everyMs: 5 }, clock), "there");
  assert.deepEqual(clock.pauses, [5, 5]);
});

test("the last look is at the deadline, and a deadline of 0 is a single look", async () => {
  const clock = testClock();
  let looks = 0;
  const never = () => {
    looks += 1;
    return false;
  };
  assert.equal(await waitFor(never, { everyMs: 5, deadlineMs: 10 }, clock), undefined);
  assert.deepEqual([looks, clock.pauses], [3, [5, 5]]);
  assert.equal(await waitFor(never, { everyMs: 5, deadlineMs: 0 }, clock), undefined);
  assert.deepEqual([looks, clock.pauses.length], [4, 2]);
});

test("a condition's error ends the wait", async () => {
  const fails = () => {
    throw new Error("no");
  };
  await assert.rejects(waitFor(fails, { everyMs: 5 }, testClock()), /^Error: no$/);
});

test("an abort ends the pause, and no listener is left", async () => {
  const controller = new AbortController();
  const { signal } = controller;
  const reason = new Error("enough");
  const waiting = waitFor(() => false, { everyMs: 1_000_000, signal });
  await new Promise(setImmediate);
  assert.equal(getEventListeners(signal, "abort").length, 1);
  controller.abort(reason);
  await assert.rejects(waiting, { name: "AbortError", cause: reason });
  assert.equal(getEventListeners(signal, "abort").length, 0);

  const other = new AbortController();
  const answers = [false, true];
  assert.equal(await waitFor(() => answers.shift(), { everyMs: 1, signal: other.signal }), true);
  assert.equal(getEventListeners(other.signal, "abort").length, 0);
});

test("work in time gives its own answer or error, and leaves no timer", async () => {
  const timers = () => process.getActiveResourcesInfo().filter((resource) => resource === "Timeout").length;
  const before = timers();
  const late = () => assert.fail("it was in time");
  assert.equal(await withTimeout(Promise.resolve("done"), 1_000_000, late), "done");
  assert.equal(await withTimeout(undefined, 1_000_000, late), undefined);
  await assert.rejects(withTimeout(Promise.reject(new Error("no")), 1_000_000, late), /^Error: no$/);
  assert.equal(timers(), before);
});

test("late work gives the answer or error for it", async () => {
  const never = new Promise<never>(() => undefined);
  assert.equal(await withTimeout(never, 1, () => "late"), "late");
  const fail = () => {
    throw new Error("no answer within 1 ms");
  };
  await assert.rejects(withTimeout(never, 1, fail), /^Error: no answer within 1 ms$/);
});

test("work runs one after the other in its order, also after a failure", async () => {
  const mutex = new Mutex();
  const seen: string[] = [];
  const work = (name: string, fails = false) =>
    mutex.run(async () => {
      seen.push(`${name} begins`);
      await new Promise(setImmediate);
      seen.push(`${name} ends`);
      if (fails) throw new Error(`${name} fails`);
      return name;
    });
  const [first, second] = [work("first", true), work("second")];
  await assert.rejects(first, /^Error: first fails$/);
  assert.equal(await second, "second");
  assert.deepEqual(seen, ["first begins", "first ends", "second begins", "second ends"]);
});

test("a queue is idle once everything asked for before has ended, however", async () => {
  const mutex = new Mutex();
  await mutex.idle();
  let ended = false;
  const failing = assert.rejects(
    mutex.run(async () => {
      await new Promise(setImmediate);
      ended = true;
      throw new Error("no");
    }),
  );
  await mutex.idle();
  assert.equal(ended, true);
  await failing;
});
