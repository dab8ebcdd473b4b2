import assert from "node:assert/strict";
import test from "node:test";
import type { InPlaceWatchInput } from "../../../src/model/pool/in-place";
import { removePool } from "../../../src/provider/resources/pool-removal";
import { replaceInPlace } from "../../../src/provider/rollout/in-place";
import type { Context } from "../../../src/provider/server";
import { freePorts } from "../../support/ports";
import { ask, sendRequests } from "../../support/requests";
import { until } from "../../support/until";
import { type Behaviour, startNodes, startStep } from "../support/nodes";

function contextOf(messages: string[]): Context {
  const say = (text: string) => messages.push(text);
  const log = { debug: say, info: say, warn: say, error: say, progress: say };
  const { signal } = new AbortController();
  return { urn: "urn:pool", name: "web", type: "x", preview: false, signal, log, secrets: [] };
}

const WINDOW: InPlaceWatchInput = {
  window: "6 seconds",
  gates: [{ kind: "sli", thresholds: ["p95 < 500 ms", "5xx < 0.5 %"], minRequests: 50, interval: "500 milliseconds" }],
};

test("a release is replaced in its place, behind two edges and under load, and put back when it does not hold", async (t) => {
  const nodes = await startNodes(t);
  const { edges, states, committed } = nodes;
  const messages: string[] = [];
  const deploy = async (id: string, behaviour: Behaviour = {}, watch: InPlaceWatchInput = {}) => {
    const inputs = nodes.inputs(await nodes.release(id, behaviour), watch);
    messages.length = 0;
    await replaceInPlace(inputs, startStep(inputs), contextOf(messages));
  };
  const releases = async () => {
    const answers = await Promise.all(Array.from({ length: 4 }, () => ask(edges[0]?.port ?? 0)));
    return [...new Set(answers.map(({ release }) => release))].toSorted();
  };

  await t.test("the first one comes up where nothing ran", async () => {
    await deploy("v1");
    assert.deepEqual(await states(), ["ready", "ready"]);
    assert.deepEqual(await releases(), ["peer", "v1"]);
  });

  const load = sendRequests(
    t,
    edges.map(({ port }) => port),
  );
  t.after(() => load.stop());

  await t.test("a good one takes over without a lost request, after its window", async () => {
    await deploy("v2", {}, WINDOW);
    assert.equal(await committed(), "v2");
    assert.deepEqual(await states(), ["ready", "ready"]);
    assert.deepEqual(await releases(), ["peer", "v2"]);
    const order = ["drains", "starts", "is healthy", "takes requests again", "answers well through", "watching"];
    const at = order.map((text) => messages.findIndex((line) => line.includes(text)));
    assert.ok(!at.includes(-1), JSON.stringify(messages));
    assert.deepEqual(
      at,
      at.toSorted((a, b) => a - b),
    );
    assert.deepEqual(load.seen().failures, []);
  });

  await t.test("the same one again touches nothing", async () => {
    await deploy("v2");
    assert.ok(!messages.some((line) => line.includes("drains")), JSON.stringify(messages));
  });

  await t.test("one that answers 500 on its health path is undone", async () => {
    await assert.rejects(
      async () => {
        const release = await nodes.release("sick", { health: 500 });
        const inputs = nodes.inputs(release);
        const { web } = inputs.processes;
        if (web?.health !== undefined) web.health.deadline = "2 seconds";
        await replaceInPlace(inputs, startStep(inputs), contextOf(messages));
      },
      (error: Error) => {
        assert.match(error.message, /release sick\) not healthy within 2 seconds: GET \/healthz answered 500/);
        assert.match(error.message, /pool\/web of the agent at \S+ is as it was before/);
        return true;
      },
    );
    assert.equal(await committed(), "v2");
    assert.deepEqual(await states(), ["ready", "ready"]);
    await until("v2 answers again", async () => (await releases()).includes("v2"));
  });

  await t.test("one with 2 % errors is undone by its window", async () => {
    await assert.rejects(
      deploy("flaky", { errors: 0.02 }, { ...WINDOW, window: "20 seconds" }),
      /5xx .* %, not .*as it was before/s,
    );
    assert.equal(await committed(), "v2");
    assert.deepEqual(await states(), ["ready", "ready"]);
    await until("v2 answers again", async () => (await releases()).includes("v2"));
  });

  await t.test("one that is slow is undone by its window", async () => {
    await assert.rejects(deploy("slow", { delayMs: 700 }, { ...WINDOW, window: "1 minute" }), /p95 \d+ ms, not /);
    assert.equal(await committed(), "v2");
  });

  await t.test(
    "the evidence of that holds on all agents what the gates measured, and on the edges what the server answered",
    async () => {
      const parts = [nodes.node.client, ...edges.map(({ client }) => client)];
      const records = await Promise.all(
        parts.map(async (client) => {
          const [newest] = await client.evidence(1);
          return (await client.evidenceOf(newest?.id ?? ""))?.record;
        }),
      );
      assert.deepEqual(
        records.map((record) => record?.target),
        ["pool/web", "backend/main/web", "backend/main/web"],
      );
      assert.equal(new Set(records.map((record) => record?.program?.group)).size, 1);
      for (const record of records) {
        assert.deepEqual(
          record?.program?.parts?.map(({ id }) => id).toSorted(),
          records.map((each) => each?.id).toSorted(),
        );
        assert.deepEqual(
          record?.gates.map(({ stage, outcome }) => [stage, outcome]),
          [["release slow", "breach"]],
        );
        assert.match(record?.gates[0]?.reason ?? "", /p95 .* ms, not < /);
        assert.deepEqual([record?.verdict, record?.ending], ["undone", "abort"]);
      }
      for (const { summary, sides, series } of records.slice(1).flatMap((record) => record ?? [])) {
        assert.deepEqual(summary, { from: "node out", to: "node in" });
        assert.deepEqual(
          sides.map(({ role, label }) => [role, label]),
          [
            ["all", "all of web"],
            ["candidate", "server node"],
          ],
        );
        const slowest = (role: string) =>
          Math.max(...(series.find((one) => one.role === role)?.points.map(({ p95 }) => p95 ?? 0) ?? []));
        // Quantiles are right to 1 %.
        assert.ok(slowest("candidate") >= 693, String(slowest("candidate")));
      }
    },
  );

  await t.test("what must hold before is asked before anything is touched", async () => {
    const before: InPlaceWatchInput["before"] = [
      { kind: "command", name: "pending migrations", command: ["sh", "-c", "echo 2 pending; exit 3"] },
    ];
    await assert.rejects(deploy("v3", {}, { before }), /gate pending migrations: .*exited with 3: 2 pending/);
    assert.ok(!messages.some((line) => line.includes("drains")), JSON.stringify(messages));
    const [refused] = await nodes.node.client.evidence(1);
    const record = (await nodes.node.client.evidenceOf(refused?.id ?? ""))?.record;
    assert.deepEqual([record?.verdict, record?.summary], ["undone", undefined]);
    assert.deepEqual(
      record?.gates.map(({ stage, gate, outcome }) => [stage, gate, outcome]),
      [["before v3", "pending migrations", "breach"]],
    );
  });

  const DEAD: InPlaceWatchInput = {
    window: "1 hour",
    gates: [
      { kind: "sli", source: "prometheus", url: `http://127.0.0.1:${await freePorts(1)}`, query: "up", must: "> 0" },
    ],
  };

  await t.test("nothing is touched where the Prometheus of a gate does not answer", async () => {
    await assert.rejects(
      deploy("v3", {}, DEAD),
      /nothing was changed, since no gate could judge it: gate sli: http:\/\/127\.0\.0\.1:\d+\/ did not answer: connect ECONNREFUSED/,
    );
    assert.ok(!messages.some((line) => line.includes("drains")), JSON.stringify(messages));
    assert.equal(await committed(), "v2");
  });

  await t.test(
    "a rollback waits for the release to be healthy, and for neither its window nor the gates in it",
    async () => {
      const inputs = nodes.inputs(await nodes.release("v1"), DEAD);
      const rollback = { ...inputs, change: { ...inputs.change, kind: "rollback" as const } };
      messages.length = 0;
      await replaceInPlace(rollback, startStep(rollback), contextOf(messages));
      assert.equal(await committed(), "v1");
      assert.ok(
        messages.includes(
          "pool web goes back to v1, which has served here before: once healthy, it is not watched any further",
        ),
        JSON.stringify(messages),
      );
      assert.deepEqual(await states(), ["ready", "ready"]);
      assert.deepEqual(load.seen().failures, []);
      // Another release under that name was never judged.
      const edited = nodes.inputs(await nodes.release("v0"), DEAD);
      const unknown = { ...edited, change: { ...edited.change, kind: "rollback" as const } };
      await assert.rejects(replaceInPlace(unknown, startStep(unknown), contextOf(messages)), /no gate could judge it/);
      await deploy("v2");
      // Nor was the same release with other processes.
      const other = nodes.inputs(await nodes.release("v1"), DEAD);
      for (const process of Object.values(other.processes)) process.env = { ...process.env, DATABASE: "another" };
      const changed = { ...other, change: { ...other.change, kind: "rollback" as const } };
      await assert.rejects(replaceInPlace(changed, startStep(changed), contextOf(messages)), /no gate could judge it/);
      assert.equal(await committed(), "v2");
    },
  );

  await t.test("the last server that answers is not taken away", async () => {
    const { client } = edges[0] as (typeof edges)[number];
    const { id } = await client.begin({
      target: "backend/main/web",
      owner: { who: "ana", why: "a look", pid: 1 },
      leaseMs: 60_000,
    });
    await client.step(
      id,
      { verb: "server.drain", edge: "main", backend: "web", server: "peer", deadline: "1 second" },
      () => undefined,
    );
    const last = client.check(
      { verb: "server.drain", edge: "main", backend: "web", server: "node", deadline: "1 second" },
      undefined,
      { now: true },
    );
    assert.match(
      (await last)[0]?.message ?? "",
      /server node is the only one of backend web on edge main that takes requests/,
    );
    await assert.rejects(deploy("v3"), /held: a transaction of ana/);
    await client.abort(id, "done");
    assert.equal(await committed(), "v2");
  });

  await t.test("it is removed without a lost request, as soon as its edges have let go of it", async () => {
    messages.length = 0;
    const inputs = nodes.inputs(await nodes.release("v2"), {});
    // Idle connections of the edges are not waited for, or this would take the hour.
    await removePool(nodes.node.client, { ...inputs, drainDeadline: "1 hour" }, contextOf(messages));
    assert.equal(await nodes.node.client.pool("web"), undefined);
    const drained = messages.filter((line) =>
      /server node of backend web on edge main has 0 connections left/.test(line),
    );
    assert.equal(drained.length, 2, JSON.stringify(messages));
    assert.deepEqual(await releases(), ["peer"]);
  });

  const { failures, answers } = await load.stop();
  assert.deepEqual(failures, []);
  assert.ok((answers["v2 200"] ?? 0) > 100, JSON.stringify(answers));
});
