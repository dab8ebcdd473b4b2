import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import test from "node:test";
import { send } from "../../../src/agent/processes/identity";
import type { PoolInputs } from "../../../src/provider/resources/pool-inputs";
import { replaceInPlace } from "../../../src/provider/rollout/in-place";
import type { Context } from "../../../src/provider/server";
import { ask, sendRequests } from "../../support/requests";
import { until } from "../../support/until";
import { startNodes, startStep } from "../support/nodes";

const BACK = { deadlineMs: 90_000, intervalMs: 200 };
const WATCH = { window: "10 minutes", gates: [{ kind: "sli", thresholds: ["5xx < 0.5 %"] }] } as const;

const silent = () => undefined;
const context: Context = {
  urn: "urn:pool",
  name: "web",
  type: "x",
  preview: false,
  signal: new AbortController().signal,
  log: { debug: silent, info: silent, warn: silent, error: silent, progress: silent },
  secrets: [],
};

test("a replacement whose update dies is put back by its agents, without a lost request", async (t) => {
  const nodes = await startNodes(t);
  const { edges, node, states } = nodes;
  const first = nodes.inputs(await nodes.release("v1"));
  await replaceInPlace(first, startStep(first), context);
  const load = sendRequests(
    t,
    edges.map(({ port }) => port),
  );
  t.after(() => load.stop());
  const back = async () => {
    const { transactions } = await node.client.status();
    const open = await Promise.all(edges.map(async ({ client }) => (await client.status()).transactions.length));
    const pool = await node.client.pool("web");
    return (
      transactions.length === 0 &&
      open.every((count) => count === 0) &&
      pool?.live.release === "v1" &&
      pool.live.processes["web#0"] === "running" &&
      (await states()).every((state) => state === "ready")
    );
  };
  const answersAgain = () =>
    until("v1 of the node answers", async () => (await ask(edges[0]?.port ?? 0)).release === "v1", BACK);

  /** Changes the pool from a process of its own, which dies as it says that line. */
  const killedAt = async (line: RegExp, what: "replace" | "remove", inputs: PoolInputs) => {
    const child = spawn(
      process.execPath,
      [...process.execArgv, `${__dirname}/../support/replace.ts`, what, JSON.stringify(inputs), line.source],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    t.after(() => child.kill("SIGKILL"));
    const messages: string[] = [];
    const exited = new Promise((resolve) => child.on("exit", (_code, signal) => resolve(signal)));
    for await (const text of createInterface({ input: child.stdout })) messages.push(text);
    assert.equal(await exited, "SIGKILL", messages.join("\n"));
  };

  let count = 1;
  for (const [phase, line] of [
    ["drain", /drains$/],
    ["restart", /^release \S+ of pool web starts/],
    ["window", /watching/],
  ] as const) {
    await t.test(`killed in its ${phase}`, async () => {
      count += 1;
      const inputs = nodes.inputs(await nodes.release(`v${count}`), WATCH as never);
      await killedAt(line, "replace", inputs);
      await until("the release before it in its place, with its traffic", back, BACK);
      // The evidence says how far it came, and that it was undone since nobody held it any more.
      const [evidence] = await node.client.evidence(1);
      assert.deepEqual([evidence?.target, evidence?.verdict, evidence?.ending], ["pool/web", "undone", "lease"]);
      assert.deepEqual(evidence?.summary?.to, phase === "drain" ? undefined : `v${count}`);
      await answersAgain();
      assert.deepEqual(load.seen().failures, []);
    });
  }

  await t.test("killed as it removes the pool", async () => {
    await killedAt(/drains$/, "remove", first);
    await until("the pool in its place, with its traffic", back, BACK);
    const [evidence] = await node.client.evidence(1);
    assert.deepEqual([evidence?.target, evidence?.verdict, evidence?.ending], ["pool/web", "undone", "lease"]);
    await answersAgain();
    assert.deepEqual(load.seen().failures, []);
  });

  await t.test("the node's agent dies in the window: put back, and told", async () => {
    const inputs = nodes.inputs(await nodes.release("v9"), WATCH as never, { drainDeadline: "20 seconds" });
    const watching = {
      ...context,
      log: {
        ...context.log,
        progress: (text: string) => void (text.includes("watching") && send(node.about.pid, "SIGKILL")),
      },
    };
    const update = replaceInPlace(inputs, startStep(inputs), watching);
    await assert.rejects(update, /is as it was before|does so by itself as soon as it runs/);
    await until("the release before it in its place, with its traffic", back, BACK);
    await answersAgain();
    assert.deepEqual((await load.stop()).failures, []);
  });

  await t.test("an agent that can't be reached refuses it before anything changes", async () => {
    const [, other] = edges;
    assert.ok(other);
    send(other.guard, "SIGKILL");
    const pid = (await other.client.about()).pid;
    send(pid, "SIGKILL");
    const inputs = nodes.inputs(await nodes.release("v10"));
    await assert.rejects(
      replaceInPlace(inputs, startStep(inputs), context),
      /can't be reached.*\nNothing was changed\./s,
    );
    assert.equal((await node.client.pool("web"))?.live.release, "v1");
    assert.equal((await node.client.status()).transactions.length, 0);
  });
});
