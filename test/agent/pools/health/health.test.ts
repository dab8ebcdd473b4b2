import assert from "node:assert/strict";
import test from "node:test";
import type { ProcessInput } from "../support/agent";
import { startPoolAgent, web } from "../support/agent";

type Health = NonNullable<ProcessInput["health"]>;

test("a candidate's health", { concurrency: true }, async (t) => {
  const poolAgent = await startPoolAgent(t);
  const started = async (name: string, env: Record<string, string>, health: Partial<Health>) => {
    const pool = await poolAgent.pool(name);
    const since = performance.now();
    const process = web(env, { health: { path: "/healthz", ...health } });
    const failure = await pool.promote("v1", { web: process }).then(
      () => undefined,
      (error: Error) => error.message,
    );
    return { pool, failure, ms: performance.now() - since };
  };

  await Promise.all([
    t.test("is first asked after the start delay, and then at each interval", async () => {
      const { pool, failure } = await started(
        "delay",
        { HEALTH: "" },
        { startDelay: "700 milliseconds", interval: "100 milliseconds" },
      );
      assert.equal(failure, undefined);
      const { probes } = JSON.parse(await pool.get("/about")) as { probes: number[] };
      // The kernel tells its start in hundredths of a second.
      assert.ok((probes[0] ?? 0) >= 690, `first probe after ${probes[0]} ms`);
    }),

    t.test("is waited for while the app does not listen yet", async () => {
      const { failure } = await started("late", { LISTEN_AFTER: "600" }, { interval: "50 milliseconds" });
      assert.equal(failure, undefined);
    }),

    t.test("that answers 503 fails at the deadline with that answer", async () => {
      const { failure, ms } = await started("sick", { HEALTH: "503" }, { deadline: "3 seconds" });
      assert.match(
        failure ?? "",
        /web#0 of pool sick \(release v1\) not healthy within 3 seconds: GET \/healthz answered 503; it printed nothing/,
      );
      assert.ok(ms >= 3000, `${ms} ms`);
    }),

    t.test("that hangs is given up after each probe's timeout, and at the deadline", async () => {
      const { failure } = await started(
        "hangs",
        { HEALTH: "hang", SAY: "up" },
        { timeout: "200 milliseconds", deadline: "3 seconds" },
      );
      assert.match(
        failure ?? "",
        /not healthy within 3 seconds: .*no answer within 200 ms; its last output:\n {2}\| up/,
      );
    }),

    t.test("that switches to another protocol is none", async () => {
      const { failure } = await started("switches", { HEALTH: "101" }, { deadline: "3 seconds" });
      assert.match(
        failure ?? "",
        /not healthy within 3 seconds: GET \/healthz got no answer before the connection was/,
      );
    }),

    t.test("whose answer never ends is none", async () => {
      const { failure } = await started(
        "half",
        { HEALTH: "half" },
        { timeout: "200 milliseconds", deadline: "3 seconds" },
      );
      assert.match(failure ?? "", /not healthy within 3 seconds: no answer within 200 ms/);
    }),

    t.test("that is slower than a probe's timeout is none, and slower than that it is good", async () => {
      const slow = await started(
        "slow",
        { HEALTH: "slow:600" },
        { timeout: "100 milliseconds", deadline: "3 seconds" },
      );
      assert.match(slow.failure ?? "", /no answer within 100 ms/);
      assert.equal((await started("patient", { HEALTH: "slow:600" }, { timeout: "5 seconds" })).failure, undefined);
    }),

    t.test("is not waited for beyond the deadline, however long one probe may take", async () => {
      const { failure } = await started("bound", { HEALTH: "hang" }, { timeout: "5 minutes", deadline: "3 seconds" });
      assert.match(failure ?? "", /not healthy within 3 seconds: no answer within \d{1,4} ms/);
    }),

    t.test("of a process that exits fails at once, with its last lines", async () => {
      const lines = Array.from({ length: 15 }, (_, index) => `line ${index + 1}`).join("\n");
      // At once, or this would take the hour of the deadline.
      const { failure } = await started(
        "exits",
        { EXIT: "5:100", LISTEN_AFTER: "60000", SAY: lines },
        { deadline: "1 hour" },
      );
      assert.ok(
        failure?.startsWith("web#0 of pool exits (release v1) exited with code 5; its last output:\n  | line 6\n"),
        failure,
      );
      assert.ok(failure?.includes("\n  | line 15"));
    }),
  ]);
});
