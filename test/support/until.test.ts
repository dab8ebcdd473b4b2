import assert from "node:assert/strict";
import test from "node:test";
import { until } from "./until";

test("until resolves with the first truthy value", async () => {
  const values = [0, "", null, undefined, "there"];
  assert.equal(await until("a value", () => values.shift(), { intervalMs: 1 }), "there");
});

test("until survives a probe that fails at first", async () => {
  let calls = 0;
  const probe = async () => {
    calls++;
    if (calls < 3) throw new Error("not yet");
    return calls;
  };
  assert.equal(await until("a third call", probe, { intervalMs: 1 }), 3);
});

test("until's error names the condition, the deadline and the last error or value", async () => {
  const options = { deadlineMs: 20, intervalMs: 1 };
  const failing = () => Promise.reject(new Error("ECONNREFUSED"));
  await assert.rejects(until("edge answers", failing, options), {
    message: "not within 20 ms: edge answers (last error: ECONNREFUSED)",
  });
  await assert.rejects(
    until("edge answers", () => false, options),
    /not within 20 ms: edge answers \(last value: false\)/,
  );
});

test("until gives up on a probe that never settles", async () => {
  const never = () => new Promise<boolean>(() => undefined);
  await assert.rejects(until("edge answers", never, { deadlineMs: 20 }), /the probe did not answer/);
});
