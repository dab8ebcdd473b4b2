import assert from "node:assert/strict";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ask } from "../../../src/agent/haproxy/runtime/runtime-api";
import { type DeclaredRouteInput, declaredRoute } from "../../../src/model/route/route";
import { rollOutRoute } from "../../../src/provider/rollout/route-rollout";
import type { RunGates } from "../../../src/provider/rollout/stage-gates";
import type { Context } from "../../../src/provider/server";
import { startHarness } from "../../support/harness";
import { startServer } from "../../support/server";
import { until } from "../../support/until";

/** An agent with an edge that has three backends; the stages' gates are the test's. */
async function startRollouts(t: TestContext) {
  // A candidate without a server that takes requests is never good.
  const { port, server } = await startServer(t, (_, response) => response.end());
  const backends = { blue: { port }, green: { port }, red: { port } };
  const { client, directory } = await startHarness(t, { backends });
  const messages: string[] = [];
  const say = (text: string) => messages.push(text);
  const log = { debug: say, info: say, warn: say, error: say, progress: say };
  const abort = new AbortController();
  const context: Context = {
    urn: "urn:route",
    name: "api",
    type: "x",
    preview: false,
    signal: abort.signal,
    log,
    secrets: [],
  };
  const rollOut = (stage: string, runGates: RunGates, more: Partial<DeclaredRouteInput> = {}) => {
    const declared = declaredRoute.parse({ edges: ["main"], stable: "blue", candidate: "green", stage, ...more });
    return rollOutRoute([{ client, edges: ["main"] }], "api", declared, context, { runGates });
  };
  return {
    client,
    server,
    rollOut,
    messages,
    abort,
    byHand: (command: string) => ask(join(directory, "edges", "main", "worker.sock"), command),
    split: async () => (await client.route("api"))?.splits.main,
  };
}

test("a breach at any stage undoes the whole rollout; onBreach leads on to the stable side", async (t) => {
  const { rollOut, split, client, byHand, messages, abort } = await startRollouts(t);
  const entered: string[] = [];
  const pass: RunGates = async ({ name }, { spec }) => {
    entered.push(name);
    assert.equal(await split(), spec.split);
  };
  const breachAt =
    (at: string): RunGates =>
    async (stage, context) => {
      await pass(stage, context);
      if (stage.name === at) throw new Error("5xx 2.1 % > 0.5 %");
    };

  await assert.rejects(
    rollOut("50%", breachAt("10%")),
    /^Error: stage 10% of route api: 5xx 2.1 % > 0.5 %\nroute\/api is as it was before/,
  );
  assert.equal(await client.route("api"), undefined);

  await rollOut("10%", pass);
  assert.deepEqual(entered.splice(0), ["1%", "10%", "1%", "10%"]);
  await assert.rejects(rollOut("100%", breachAt("100%")), /stage 100% of route api/);
  assert.deepEqual(entered.splice(0), ["50%", "100%"]);
  assert.equal(await split(), 1000);

  await assert.rejects(
    rollOut("100%", breachAt("50%"), { onBreach: "stable" }),
    /Then all requests of route api went to blue, as onBreach says/,
  );
  assert.equal(await split(), 0);
  assert.equal((await client.route("api"))?.committed, 0);

  // If somebody took requests off the candidate by hand, the next rollout begins there, and its undo ends there.
  entered.length = 0;
  await rollOut("10%", pass);
  // An agent brings its edges to what was committed once more after each commit.
  await until("the change by hand stays", async () => {
    await byHand("set map splits.map api/blue/green 0");
    await sleep(300);
    return (await split()) === 0;
  });
  await assert.rejects(rollOut("50%", breachAt("50%")), /stage 50%/);
  assert.deepEqual(entered.splice(0), ["1%", "10%", "1%", "10%", "50%"]);
  assert.equal(await split(), 0);
  assert.ok(messages.includes("the candidate was taken from 10% to 0% by hand"));

  // Another candidate begins anew, whatever the one before had reached; finishing moves nobody.
  await rollOut("100%", pass);
  entered.length = 0;
  await rollOut("stable", pass, { stable: "green", candidate: "red" });
  assert.deepEqual([entered.splice(0), await split()], [[], 0]);
  await rollOut("10%", pass, { stable: "green", candidate: "red" });
  assert.deepEqual(entered.splice(0), ["1%", "10%"]);

  const cancel: RunGates = async () => {
    abort.abort(new Error("cancelled"));
    throw new Error("the gate was interrupted");
  };
  await assert.rejects(
    rollOut("100%", cancel, { stable: "green", candidate: "red", onBreach: "stable" }),
    (error: Error) => {
      return (
        error.message.startsWith("cancelled\nroute/api is as it was before") && !error.message.includes("onBreach")
      );
    },
  );
  assert.equal(await split(), 1000);
});

test("a route remembers in which of the stages without requests it is, and what that has mirrored", async (t) => {
  const { rollOut, client } = await startRollouts(t);
  const entered: string[] = [];
  const pass: RunGates = async ({ name }) => {
    entered.push(name);
  };
  const more = {
    mirror: { to: "green", share: "0%" },
    stages: [
      { split: "0%", name: "parity", gates: [{ kind: "health" }] },
      { split: "0%", name: "shadow", mirror: "100%" },
      { split: "1%" },
      { split: "100%" },
    ],
  } satisfies Partial<DeclaredRouteInput>;
  const place = async () => {
    const { spec, mirrors, splits } = (await client.route("api")) ?? {};
    return [spec?.stage, splits?.main, mirrors?.main];
  };
  await rollOut("parity", pass, more);
  assert.deepEqual([entered.splice(0), await place()], [["parity"], ["parity", 0, 0]]);
  await rollOut("shadow", pass, more);
  assert.deepEqual([entered.splice(0), await place()], [["shadow"], ["shadow", 0, 10_000]]);
  await assert.rejects(
    rollOut(
      "1%",
      async () => {
        throw new Error("slow");
      },
      more,
    ),
    /stage 1% of route api: slow/,
  );
  assert.deepEqual(await place(), ["shadow", 0, 10_000]);
  // A breach that leads on to stable ends the copies as well.
  await assert.rejects(
    rollOut(
      "1%",
      async () => {
        throw new Error("slow");
      },
      { ...more, onBreach: "stable" },
    ),
    /Then all requests of route api went to blue/,
  );
  assert.deepEqual(await place(), ["stable", 0, 0]);
  await rollOut("1%", pass, more);
  assert.deepEqual(
    [entered.splice(0), await place()],
    [
      ["parity", "shadow", "1%"],
      ["1%", 100, 0],
    ],
  );
  await rollOut("shadow", pass, more);
  await rollOut("stable", pass, more);
  assert.deepEqual([entered.splice(0), await place()], [[], ["stable", 0, 0]]);
});

test("a candidate becomes the stable side only with all requests, and comes back with all of them", async (t) => {
  const { rollOut, client, split } = await startRollouts(t);
  const entered: string[] = [];
  const pass: RunGates = async ({ name }) => {
    entered.push(name);
  };
  const finish = () => rollOut("stable", pass, { stable: "green", candidate: undefined });
  await rollOut("10%", pass);
  await assert.rejects(
    finish(),
    /^Error: route api: green can't become the stable side yet: as the candidate it has 10% of the requests, and would have 100% at once, without gates; go to its last stage first, with 100%/,
  );
  // With the sides swapped, 90 % would move all the same.
  await assert.rejects(rollOut("stable", pass, { stable: "green", candidate: "blue" }), /it has 10% of the requests/);
  assert.equal(await split(), 1000);
  await rollOut("100%", pass);
  entered.length = 0;
  await finish();
  assert.deepEqual([(await client.route("api"))?.spec.stable, entered], ["green", []]);

  // Back to the last stage nobody moves, and no gate is asked; below it, it is a rollback.
  const forbidden: RunGates = async ({ name }) => assert.fail(`the gates of ${name} were asked`);
  await rollOut("100%", forbidden);
  assert.equal(await split(), 10_000);
  await finish();
  await rollOut("10%", forbidden);
  assert.equal(await split(), 1000);
});

test("another backend can't take the place of one that has some of the requests", async (t) => {
  const { rollOut, client, split } = await startRollouts(t);
  const pass: RunGates = async () => undefined;
  const refused = async (stage: string, more: Parameters<typeof rollOut>[2], message: RegExp) => {
    await assert.rejects(
      rollOut(stage, async () => assert.fail("a gate was asked"), more),
      message,
    );
    const { stable, candidate } = (await client.route("api"))?.spec ?? {};
    assert.deepEqual([stable, candidate], ["blue", "green"]);
  };
  await rollOut("10%", pass);
  const third =
    /^Error: route api: red can't become the stable side now: green is the candidate with 10% of the requests, and 90% would go to red at once, without gates; go to stage "stable" first, or make green the stable side once it has 100%/;
  await refused("10%", { stable: "red" }, third);
  await refused("50%", { stable: "red" }, third);
  await refused("stable", { stable: "red" }, /and 100% would go to red at once/);
  await refused("stable", { stable: "red", candidate: undefined }, /and 100% would go to red at once/);
  await refused(
    "1%",
    { candidate: "red" },
    /^Error: route api: red can't become the candidate now: green has 10% of the requests and would lose them at once; go to stage "stable" first/,
  );
  await rollOut("100%", pass);
  await refused("1%", { candidate: "red" }, /green has 100% of the requests and would lose them at once/);
  await refused("stable", { stable: "red", candidate: undefined }, /and 100% would go to red at once/);
  // A candidate without requests may be replaced, and a rollback says that it is one.
  await rollOut("100%", pass, { stable: "red" });
  await rollOut("100%", pass);
  await rollOut("stable", pass, { candidate: "red" });
  assert.equal(await split(), 0);
  await rollOut("1%", pass, { candidate: "red" });
  await rollOut("stable", pass, { candidate: "red" });
  await rollOut("stable", pass, { stable: "green", candidate: undefined });
  assert.equal((await client.route("api"))?.spec.stable, "green");
});

test("a candidate that takes no requests passes no stage, whatever the gates say", async (t) => {
  const { rollOut, server, split, client } = await startRollouts(t);
  const pass: RunGates = async () => undefined;
  await rollOut("10%", pass);
  const isOut = async () => (await client.route("api"))?.fallback?.includes("main") === true;
  const dies: RunGates = async (_, { signal }) => {
    server.closeAllConnections();
    server.close();
    await until("its breach", () => signal.aborted, { deadlineMs: 60_000 });
    throw signal.reason;
  };
  await assert.rejects(
    rollOut("50%", dies),
    /^Error: stage 50% of route api: edge main: candidate green of route api takes no requests \(one DOWN: L4CON\): its share goes to the stable backend\n/,
  );
  assert.ok(await isOut());
  assert.equal(await split(), 1000);
  await assert.rejects(rollOut("50%", pass), /candidate green of route api takes no requests/);
});
