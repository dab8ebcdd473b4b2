import assert from "node:assert/strict";
import { readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { AgentError } from "../../../src/agent/client/connection";
import { send } from "../../../src/agent/processes/identity";
import { verdictInWords } from "../../../src/evidence/words";
import type { StepInput } from "../../../src/model/protocol/transaction";
import { codeOf } from "../../../src/model/types/errors";
import { inTransaction } from "../../../src/provider/rollout/transaction";
import { undo } from "../../../src/provider/rollout/undo";
import type { Context } from "../../../src/provider/server";
import { startTestAgent } from "../../support/agent";
import { freeRange } from "../../support/ports";
import { change, OWNER } from "../../support/transaction";
import { until } from "../../support/until";
import { edgeStep, releaseFolder, startStep } from "../support/pool";

/** An edge on a port that somebody else takes once HAProxy has left it: its change can't be undone until that one goes. */
async function edgeThatMoves(t: TestContext) {
  const { client } = await startTestAgent(t);
  const { from } = await freeRange(2);
  await change(client, "edge/main", [edgeStep(from)]);
  const taker = createServer();
  t.after(() => taker.close());
  // HAProxy's old worker may hold the port for a moment longer.
  const take = () => until(`port ${from} to be free`, () => listens(taker, from));
  return { client, move: edgeStep(from + 1), take, leave: () => taker.close() };
}

function listens(server: Server, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const failed = () => resolve(false);
    server.once("error", failed).listen(port, "127.0.0.1", () => {
      server.off("error", failed);
      resolve(true);
    });
  });
}

test("an abort tells why its undo is not done yet, and the undo ends once it can", async (t) => {
  const { client, move, take, leave } = await edgeThatMoves(t);
  const { id } = await client.begin({ target: "edge/main", owner: OWNER, leaseMs: 60_000 });
  await client.step(id, move, () => undefined);
  await take();
  const status = await until("a reason", async () => {
    const answer = await client.abort(id, "test", 200);
    return answer.delay === undefined ? undefined : answer;
  });
  assert.equal(status.state, "undoing");
  assert.match(status.delay ?? "", /^edge main could not be restored yet: /);
  await assert.rejects(
    client.begin({ target: "edge/main", owner: OWNER }),
    (error) => error instanceof AgentError && /is being undone \(edge main could not be/.test(error.message),
  );
  leave();
  assert.equal((await client.abort(id, "test")).state, "undone");
});

test("an update does not wait for ever for its undo, and shows what that waits for", async (t) => {
  const { client, move, take, leave } = await edgeThatMoves(t);
  const shown: string[] = [];
  const log = { progress: (message: string) => shown.push(message) } as unknown as Context["log"];
  const context: Context = {
    urn: "urn:test",
    name: "main",
    type: "sluice:index:Edge",
    preview: false,
    signal: new AbortController().signal,
    secrets: [],
    log,
  };
  const work = inTransaction(
    client,
    "edge/main",
    context,
    async (run) => {
      await run(move);
      await take();
      throw new Error("changed my mind");
    },
    { undoDeadlineMs: 2500 },
  );
  await assert.rejects(
    work,
    /changed my mind\nedge\/main is being put back by its agent, which does not give up: edge main could not be restored yet: /,
  );
  assert.match(shown.join("\n"), /undoing: edge main could not be restored yet/);
  leave();
  await until("the undo to end", async () => (await client.status()).transactions.length === 0);
});

test("a pool is not committed on an edge that was undone meanwhile", async (t) => {
  const { client, directory } = await startTestAgent(t);
  const { from, to } = await freeRange(3);
  const edge = await client.begin({ target: "edge/main", owner: OWNER, leaseMs: 60_000 });
  await client.step(edge.id, edgeStep(from), () => undefined);
  const pool = await client.begin({ target: "pool/web", owner: OWNER, leaseMs: 60_000 });
  const path = await releaseFolder(directory);
  const start = startStep({ path, ports: { from: from + 1, to }, release: "v1" });
  await client.step(pool.id, start, () => undefined);
  await client.step(pool.id, { verb: "pool.switch", pool: "web" }, () => undefined);
  await assert.rejects(client.commit(pool.id), isNoEdge);
  await client.abort(edge.id, "test");
  await assert.rejects(
    client.step(pool.id, { verb: "pool.switch", pool: "web" }, () => undefined),
    isNoEdge,
  );
  await client.abort(pool.id, "test");
  assert.deepEqual(Object.keys((await client.status()).pools), []);
});

function isNoEdge(error: unknown): boolean {
  return error instanceof AgentError && error.code === "no-edge" && /edge main/.test(error.message);
}

test("a service that started from an undone release is started again from the one in force", async (t) => {
  const { client, directory, processes } = await startTestAgent(t);
  const { from, to } = await freeRange(3);
  const path = await releaseFolder(directory);
  const withService = (release: string) => {
    const start = startStep({ path, ports: { from: from + 1, to }, release });
    const cache = { policy: "service" as const, command: ["/bin/sleep", "1000"] };
    return { ...start, spec: { ...start.spec, processes: { ...start.spec.processes, cache } } };
  };
  const moves = ["pool.switch", "pool.follow"] as const;
  await change(client, "edge/main", [edgeStep(from)]);
  await change(client, "pool/web", [withService("v1"), ...moves.map((verb) => ({ verb, pool: "web" }))]);
  const released = async () => {
    const found = (await processes()).find(({ id }) => id === "web.service.cache");
    return found && { ...found, release: /SLUICE_RELEASE_ID=(\w+)/.exec(await environmentOf(found.pid))?.[1] };
  };
  const { id } = await client.begin({ target: "pool/web", owner: OWNER, leaseMs: 60_000 });
  for (const step of [withService("v2"), ...moves.map((verb) => ({ verb, pool: "web" }))])
    await client.step(id, step, () => undefined);
  assert.equal((await released())?.release, "v1");
  for (const { pid, id: instance } of await processes()) if (instance === "web.service.cache") send(pid, "SIGKILL");
  await until("it to run again", async () => (await released())?.release === "v2");
  assert.equal((await client.abort(id, "test")).state, "undone");
  await until("it to be v1's again", async () => (await released())?.release === "v1");
});

test("an undo ends once what it puts back is up, or says what is not", async (t) => {
  const { client, directory } = await startTestAgent(t);
  const { from, to } = await freeRange(5);
  const path = await releaseFolder(directory);
  const broken = join(directory, "broken");
  const clock = {
    policy: "singleton" as const,
    command: `[ ! -e ${broken} ] || exit 1; exec sleep 1000`,
    shell: true,
    outputLines: 0,
  };
  const steps = (release: string): StepInput[] => {
    const start = startStep({ path, ports: { from: from + 1, to }, release });
    const spec = { ...start.spec, processes: { ...start.spec.processes, clock } };
    return [{ ...start, spec }, ...(["pool.switch", "pool.follow"] as const).map((verb) => ({ verb, pool: "web" }))];
  };
  const news = async () => {
    const text = await readFile(join(directory, "events.ndjson"), "utf8");
    const messages = text.trim().split("\n");
    return JSON.parse(messages.findLast((line) => line.includes("is undone")) ?? "{}").message;
  };
  const begun = async (release: string) => {
    const { id } = await client.begin({ target: "pool/web", owner: OWNER, leaseMs: 60_000 });
    for (const step of steps(release)) await client.step(id, step, () => undefined);
    return id;
  };
  await change(client, "edge/main", [edgeStep(from)]);
  await change(client, "pool/web", steps("v1"));

  const { state, notUp } = await client.abort(await begun("v2"), "test");
  const live = (await client.pool("web"))?.live;
  assert.deepEqual({ state, notUp }, { state: "undone", notUp: undefined });
  assert.deepEqual(live?.processes, { "web#0": "running", clock: "running" });
  await until("the event", async () => (await news()) === "the transaction on pool/web is undone");

  const id = await begun("v3");
  await writeFile(broken, "");
  const failed = await client.abort(id, "test");
  assert.equal(failed.state, "undone");
  const missing = "clock of pool web (release v1) will be started again";
  assert.equal(failed.notUp, missing);
  const message = `the transaction on pool/web is undone, but not all of it is up yet: ${missing}`;
  await until("the event", async () => (await news()) === message);
  const evidence = (await client.evidenceOf(id))?.record ?? assert.fail();
  const but = `but not all of it is up yet: ${missing}`;
  assert.equal(verdictInWords(evidence), `pool/web is as it was before: the deployer aborted it, ${but}`);
  assert.equal(evidence.marks.at(-1)?.text, `everything is as it was before, ${but}`);

  await rm(broken);
  const running = async () => (await client.pool("web"))?.live.processes.clock === "running";
  await until("v1 to be up again", running);
  const interrupted = await begun("v4");
  await writeFile(broken, "");
  const { pid } = await client.about();
  send(pid, "SIGKILL");
  await until("the next agent", async () => (await client.about()).pid !== pid);
  const { state: end, text } = await until("the next agent to answer", async () => {
    const log = {
      debug: () => undefined,
      info: () => undefined,
      warn: () => undefined,
      error: () => undefined,
      progress: () => undefined,
    };
    const held = { client, id: interrupted, title: "pool web" };
    const undone = await undo(held, { reason: "test", committing: false, deadlineMs: 30_000 }, log);
    return undone.state === "going on" ? undefined : undone;
  });
  assert.equal(end, "undone");
  assert.equal(text, `pool web is as it was before: the change was undone, ${but}.`);
});

test("after a restart, each undo is told once its own processes are up, whatever another one waits for", async (t) => {
  const { client, directory, about } = await startTestAgent(t);
  const { from, to } = await freeRange(9);
  const path = await releaseFolder(directory);
  const pools = { web: { from: from + 1, to: from + 4 }, api: { from: from + 5, to } };
  const ready = (pool: string) => join(directory, `${pool}.ready`);
  const steps = (pool: keyof typeof pools, release: string): StepInput[] => {
    const start = startStep({ path, ports: pools[pool], release }, pool);
    const clock = {
      policy: "singleton" as const,
      command: `until [ -e ${ready(pool)} ]; do sleep 0.05; done; echo ready; exec sleep 1000`,
      shell: true,
      health: { line: "ready", deadline: "1 minute" as const },
    };
    const spec = { ...start.spec, processes: { ...start.spec.processes, clock } };
    return [{ ...start, spec }, ...(["pool.switch", "pool.follow"] as const).map((verb) => ({ verb, pool }))];
  };
  const undone = async () => {
    const text = await readFile(join(directory, "events.ndjson"), "utf8");
    return text.match(/the transaction on pool\/\w+ is undone/g) ?? [];
  };
  await change(client, "edge/main", [edgeStep(from)]);
  const names = ["web", "api"] as const;
  for (const pool of names) {
    await writeFile(ready(pool), "");
    await change(client, `pool/${pool}`, steps(pool, "v1"));
    const { id } = await client.begin({ target: `pool/${pool}`, owner: OWNER, leaseMs: 60_000 });
    for (const step of steps(pool, "v2")) await client.step(id, step, () => undefined);
  }
  await rm(ready("web"));
  send(about.pid, "SIGKILL");
  await until("the undo of what is up", async () => (await undone()).length > 0);
  assert.deepEqual(await undone(), ["the transaction on pool/api is undone"]);
  await writeFile(ready("web"), "");
  await until("the other one", async () => (await undone()).length === 2);
  const running = names.map(async (pool) => (await client.pool(pool))?.live.processes.clock);
  assert.deepEqual(await Promise.all(running), ["running", "running"]);
});

async function environmentOf(pid: number): Promise<string> {
  try {
    return await readFile(`/proc/${pid}/environ`, "utf8");
  } catch (error) {
    // It has ended meanwhile.
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ESRCH") return "";
    throw error;
  }
}
