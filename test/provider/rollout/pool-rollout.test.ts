import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { type PoolInput, poolSpec } from "../../../src/model/pool/pool";
import { type PoolCanaryInput, poolCanary } from "../../../src/model/pool/pool-share";
import type { StepInput } from "../../../src/model/protocol/transaction";
import type { PoolInputs } from "../../../src/provider/resources/pool-inputs";
import { withArtifact } from "../../../src/provider/rollout/artifact";
import { promote } from "../../../src/provider/rollout/pool-rollout";
import type { RunGates } from "../../../src/provider/rollout/stage-gates";
import type { Context } from "../../../src/provider/server";
import { edgeStep, releaseFolder, startStep } from "../../agent/support/pool";
import { startTestAgent } from "../../support/agent";
import { freeRange } from "../../support/ports";
import { change } from "../../support/transaction";
import { until } from "../../support/until";

test("a pool's candidate, as somebody declares it one way after the other", async (t) => {
  const { client, directory, socket } = await startTestAgent(t);
  const { from, to } = await freeRange(12);
  const path = await releaseFolder(directory);
  const agent = { directory, socket };
  await change(client, "edge/main", [edgeStep(from)]);
  const silent = () => undefined;
  const log = { debug: silent, info: silent, warn: silent, error: silent, progress: silent };
  const context: Context = {
    urn: "urn:pool",
    name: "web",
    type: "x",
    preview: false,
    signal: new AbortController().signal,
    log,
    secrets: [],
  };
  const entered: string[] = [];
  const pass: RunGates = async ({ name }) => {
    entered.push(name);
  };
  const breachAt =
    (at: string): RunGates =>
    async (stage, given) => {
      await pass(stage, given);
      if (stage.name === at) throw new Error("5xx 2.1 %, and not < 0.5 %");
    };
  const release = (id: string) => ({ id, path });
  const canary = (id: string, stage: string, more: Partial<PoolCanaryInput> = {}): PoolCanaryInput => ({
    release: release(id),
    stage,
    ...more,
  });
  const processes = (replicas = 1, env: Record<string, string> = {}): PoolInput["processes"] =>
    startStep({ path, ports: { from: from + 1, to }, release: "", replicas, env }).spec.processes;
  /** The step of a declared pool, as the resource makes it. */
  const declared = (id: string, candidate?: PoolCanaryInput, own = processes()) => {
    const step = startStep({ path, ports: { from: from + 1, to }, release: id });
    const spec = poolSpec.parse({ ...step.spec, processes: own });
    const parsed = candidate && poolCanary.parse(candidate);
    const beside = parsed && { release: parsed.release, processes: parsed.processes ?? spec.processes };
    const start: StepInput & { verb: "pool.start" } = {
      ...step,
      spec,
      ...(beside === undefined || parsed?.stage === "stable" ? {} : { canary: beside }),
    };
    return { start, inputs: { ...spec, agent, name: "web", canary: parsed } as unknown as PoolInputs };
  };
  const up = (id: string, candidate?: PoolCanaryInput, { gates = pass, own = processes() } = {}) => {
    entered.length = 0;
    const { start, inputs } = declared(id, candidate, own);
    return promote(inputs, start, context, { runGates: gates });
  };
  const share = async () => (await client.pool("web"))?.candidate?.now;
  const pids = async () => {
    await client.settle("web");
    const all = ((await client.pool("web"))?.processes ?? []).filter(({ state }) => state === "running");
    return Object.fromEntries(all.map(({ release: id, key, pid }) => [`${id} ${key}`, pid]));
  };

  await t.test("made with a candidate at once", async () => {
    await up("v1", canary("v2", "10%"));
    assert.deepEqual([entered, await share()], [["1%", "10%"], 1000]);
    assert.deepEqual(Object.keys(await pids()).toSorted(), ["v1 web#0", "v2 web#0"]);
  });

  await t.test("scaled, it keeps its share and its processes", async () => {
    const before = await pids();
    await up("v1", canary("v2", "10%"), { own: processes(2) });
    assert.deepEqual([entered, await share()], [[], 1000]);
    const after = await pids();
    assert.deepEqual([after["v1 web#0"], after["v2 web#0"]], [before["v1 web#0"], before["v2 web#0"]]);
    assert.equal(Object.keys(after).length, 4);
    await up("v1", canary("v2", "10%"));
    assert.deepEqual(await pids(), before);
  });

  await t.test("the release beside it is changed, and it keeps its share and its process", async () => {
    const before = await pids();
    await up("v0", canary("v2", "10%"));
    const after = await pids();
    assert.deepEqual([entered, await share(), after["v2 web#0"]], [[], 1000, before["v2 web#0"]]);
    assert.deepEqual(Object.keys(after).toSorted(), ["v0 web#0", "v2 web#0"]);
    await up("v1", canary("v2", "10%"));
  });

  await t.test("a breach goes back to where it was, or with onBreach ends its trial", async () => {
    const before = await pids();
    await assert.rejects(
      up("v1", canary("v2", "100%"), { gates: breachAt("100%") }),
      /stage 100% of the candidate of pool web: 5xx/,
    );
    assert.deepEqual([entered, await share(), await pids()], [["50%", "100%"], 1000, before]);
    await assert.rejects(
      up("v1", canary("v2", "50%", { onBreach: "stable" }), { gates: breachAt("50%") }),
      /Then all requests of pool web went to its release, as onBreach says\.$/,
    );
    assert.deepEqual(await pids(), { "v1 web#0": before["v1 web#0"] });
    const { withdrawn, live } = (await client.pool("web")) ?? {};
    assert.deepEqual([withdrawn?.release, live?.candidate], ["v2", undefined]);
    assert.equal(withdrawn?.why, "stage 50% of the candidate of pool web: 5xx 2.1 %, and not < 0.5 %");
    await up("v1", canary("v2", "50%", { onBreach: "stable" }));
    assert.deepEqual([entered, await share()], [["1%", "10%", "50%"], 5000]);
    assert.equal((await client.pool("web"))?.withdrawn, undefined);
  });

  await t.test("a breach of another candidate brings the one before back, whatever onBreach says", async () => {
    const before = await pids();
    const other = canary("v3", "10%", { onBreach: "stable" });
    await assert.rejects(up("v1", other, { gates: breachAt("1%") }), (error: Error) => {
      assert.doesNotMatch(error.message, /onBreach/);
      return true;
    });
    assert.deepEqual([await share(), await pids()], [5000, before]);
  });

  await t.test("another environment is another candidate, and one that ends by itself is a breach", async () => {
    const own = canary("v2", "1%", { processes: processes(1, { ANSWER: "other" }) });
    const kills: RunGates = async (stage, { signal }) => {
      await pass(stage, { signal } as Parameters<RunGates>[1]);
      const { candidate, processes: all } = (await client.pool("web")) ?? {};
      const pid = all?.find(({ generation }) => generation === candidate?.generation)?.pid;
      process.kill(pid ?? 0, "SIGKILL");
      await until("the rollout to be told", async () => signal.aborted);
      throw signal.reason;
    };
    const before = await pids();
    await assert.rejects(up("v1", own, { gates: kills }), /stage 1% of the candidate of pool web: process web#0 /);
    assert.deepEqual([entered, await share(), await pids()], [["1%"], 5000, before]);
    await up("v1", own);
    assert.deepEqual([entered, await share()], [["1%"], 100]);
    assert.notEqual((await pids())["v2 web#0"], before["v2 web#0"]);
  });

  await t.test("the release itself with the same processes is no candidate", async () => {
    const { start } = declared("v1", canary("v1", "1%"));
    const [problem, ...more] = await client.check(start, undefined);
    assert.deepEqual([problem?.path, more], ["canary.release", []]);
    assert.match(problem?.message ?? "", /^v1 is the pool's release already, with the same processes: /);
    const own = { processes: processes(1, { ANSWER: "other" }) };
    assert.deepEqual(await client.check(declared("v1", canary("v1", "1%", own)).start, undefined), []);
  });

  await t.test(
    "its artifact is placed, it becomes the release with its process, and the old config is the way back",
    async () => {
      const dist = join(directory, "dist");
      await mkdir(dist);
      await writeFile(join(dist, "app.cjs"), `${await readFile(join(path, "app.cjs"), "utf8")}\n`);
      const given = { agent, release: release("v1"), canary: { artifact: dist, release: { id: "v5" } } };
      const { news, failures } = await withArtifact(given);
      assert.deepEqual([failures, news.release], [[], release("v1")]);
      const candidate = { ...(news.canary as unknown as PoolCanaryInput), stage: "100%" };
      assert.ok(candidate.release.path.startsWith(join(directory, "artifacts")));
      await up("v1", candidate);
      const before = await pids();
      assert.deepEqual([entered, await share()], [["1%", "10%", "50%", "100%"], 10_000]);
      const { start, inputs } = declared("v5");
      const finish = { ...start, spec: { ...start.spec, release: candidate.release } };
      await promote({ ...inputs, artifact: dist }, finish, context);
      assert.deepEqual(await pids(), { "v5 web#0": before["v5 web#0"] });
      await up("v1");
      assert.deepEqual(Object.keys(await pids()), ["v1 web#0"]);
      const refused = await withArtifact({ agent, canary: { artifact: dist, release: release("v5") } });
      assert.deepEqual(
        refused.failures.map(({ property }) => property),
        ["canary.release.path"],
      );
    },
  );

  await t.test("removed, it is gone", async () => {
    await up("v1", canary("v6", "1%"));
    await up("v1", canary("v6", "stable"));
    assert.deepEqual(Object.keys(await pids()), ["v1 web#0"]);
    await up("v1", canary("v6", "1%"));
    await up("v1");
    assert.deepEqual(Object.keys(await pids()), ["v1 web#0"]);
  });
});
