import assert from "node:assert/strict";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ask } from "../../agent/haproxy/cli";
import { backendSpec } from "../../model/backend";
import { edgeSpec } from "../../model/edge";
import { type DeclaredRouteInput, declaredRoute } from "../../model/route";
import type { RunGates } from "../../provider/resources/stage-gates";
import { walkRoute } from "../../provider/resources/walk";
import type { Context } from "../../provider/server";
import { startTestAgent } from "../support/agent";
import { freePorts } from "../support/ports";
import { until } from "../support/until";

const owner = { who: "test", why: "test", pid: process.pid };

/** An agent with an edge that has three backends; the stages' gates are the test's. */
async function world(t: TestContext) {
  const { client, directory } = await startTestAgent(t);
  const http = { binds: [{ port: await freePorts(1) }], defaultBackend: "blue" };
  const edge = await client.begin({ target: "edge/main", owner });
  const spec = edgeSpec.parse({ frontends: { http } });
  await client.step(edge.id, { verb: "edge.set", edge: "main", spec }, () => undefined);
  await client.commit(edge.id);
  for (const backend of ["blue", "green", "red"]) {
    const { id } = await client.begin({ target: `backend/main/${backend}`, owner });
    await client.step(id, { verb: "backend.set", edge: "main", backend, spec: backendSpec.parse({}) }, () => undefined);
    await client.commit(id);
  }
  const said: string[] = [];
  const say = (text: string) => said.push(text);
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
  const walk = (stage: string, runGates: RunGates, more: Partial<DeclaredRouteInput> = {}) => {
    const declared = declaredRoute.parse({ edges: ["main"], stable: "blue", candidate: "green", stage, ...more });
    return walkRoute([{ client, edges: ["main"], create: false }], "api", declared, context, { runGates });
  };
  return {
    client,
    walk,
    said,
    abort,
    byHand: (command: string) => ask(join(directory, "edges", "main", "worker.sock"), command),
    split: async () => (await client.route("api"))?.splits.main,
  };
}

test("a breach at any stage undoes the whole walk; onBreach leads on to the stable side", async (t) => {
  const { walk, split, client, byHand, said, abort } = await world(t);
  const walked: string[] = [];
  const pass: RunGates = async ({ name }, { spec }) => {
    walked.push(name);
    assert.equal(await split(), spec.split);
  };
  const breachAt =
    (at: string): RunGates =>
    async (stage, context) => {
      await pass(stage, context);
      if (stage.name === at) throw new Error("5xx 2.1 % > 0.5 %");
    };

  await assert.rejects(
    walk("50%", breachAt("10%")),
    /^Error: stage 10% of route api: 5xx 2.1 % > 0.5 %\nroute\/api is as it was before/,
  );
  assert.equal(await client.route("api"), undefined);

  await walk("10%", pass);
  assert.deepEqual(walked.splice(0), ["1%", "10%", "1%", "10%"]);
  await assert.rejects(walk("100%", breachAt("100%")), /stage 100% of route api/);
  assert.deepEqual(walked.splice(0), ["50%", "100%"]);
  assert.equal(await split(), 1000);

  await assert.rejects(
    walk("100%", breachAt("50%"), { onBreach: "stable" }),
    /Then all requests of route api went to blue, as onBreach says/,
  );
  assert.equal(await split(), 0);
  assert.equal((await client.route("api"))?.committed, 0);

  // What somebody took off the candidate by hand is where the next walk begins, and where its undo ends.
  walked.length = 0;
  await walk("10%", pass);
  // An agent brings its edges to what was committed once more after each commit.
  await until("the change by hand stays", async () => {
    await byHand("set map splits.map api/blue/green 0");
    await sleep(300);
    return (await split()) === 0;
  });
  await assert.rejects(walk("50%", breachAt("50%")), /stage 50%/);
  assert.deepEqual(walked.splice(0), ["1%", "10%", "1%", "10%", "50%"]);
  assert.equal(await split(), 0);
  assert.ok(said.includes("the candidate was taken from 10% to 0% by hand"));

  // Another candidate begins anew, whatever the one before had reached; finishing moves nobody.
  await walk("100%", pass);
  walked.length = 0;
  await walk("stable", pass, { stable: "green", candidate: "red" });
  assert.deepEqual([walked.splice(0), await split()], [[], 0]);
  await walk("10%", pass, { stable: "green", candidate: "red" });
  assert.deepEqual(walked.splice(0), ["1%", "10%"]);

  const cancel: RunGates = async () => {
    abort.abort(new Error("cancelled"));
    throw new Error("the gate was interrupted");
  };
  await assert.rejects(
    walk("100%", cancel, { stable: "green", candidate: "red", onBreach: "stable" }),
    (error: Error) => {
      return (
        error.message.startsWith("cancelled\nroute/api is as it was before") && !error.message.includes("onBreach")
      );
    },
  );
  assert.equal(await split(), 1000);
});
