import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { send } from "../../../src/agent/processes/identity";
import type { TakeoverEntry } from "../../../src/model/process/takeover";
import { agentPid, startTestAgent } from "../../support/agent";
import { freePorts, freeRange } from "../../support/ports";
import { change, OWNER } from "../../support/transaction";
import { until } from "../../support/until";
import { type AppOptions, releaseFolder, renewing, startStep } from "../support/pool";
import { answers, existingApp, takingEdge } from "./existing-app";

interface Beside {
  env?: Record<string, string>;
  entry?: Partial<TakeoverEntry>;
  leaseMs?: number;
}

/** An open transaction that is about to switch to the first release of an edge whose port an app has. */
async function beforeSwitch(t: TestContext, { env = {}, entry = {}, leaseMs = 60_000 }: Beside) {
  const old = await existingApp(t);
  const port = await freePorts(1);
  const pid = await old.start(old.app(port), env);
  await answers(port, "old");
  const { client, directory } = await startTestAgent(t);
  const options: AppOptions = { path: await releaseFolder(directory), ports: await freeRange(4), release: "v1" };
  await change(client, "edge/main", [takingEdge(port, [{ port, ...entry }])]);
  const { id } = await client.begin({ target: "pool/web", owner: OWNER, leaseMs });
  await client.step(id, startStep(options), () => undefined);
  const ledger = join(directory, "takeovers", "edge.main.json");
  const doSwitch = () => client.step(id, { verb: "pool.switch", pool: "web" }, () => undefined);
  const killAgent = async () => {
    const agent = (await agentPid(directory)) ?? 0;
    send(agent, "SIGKILL");
    await until("another agent", async () => ![agent, undefined].includes(await agentPid(directory)));
  };
  return { old, port, pid, client, id, ledger, doSwitch, killAgent };
}

/**
 * Waits until the existing app has its port again, and nothing of it is still stopped. @returns the process that has it
 */
async function isGivenBack({ old, port, ledger }: Awaited<ReturnType<typeof beforeSwitch>>): Promise<number> {
  await answers(port, "old");
  await until("nothing to be owed", () => !existsSync(ledger));
  const pids = await old.running();
  assert.equal(pids.length, 1, `one app runs, not ${pids.join(", ")}`);
  return pids[0] ?? 0;
}

test("an agent that is killed after the port was taken gives it back when it starts again", async (t) => {
  const world = await beforeSwitch(t, {});
  await world.doSwitch();
  await answers(world.port, "v1");
  await world.killAgent();
  assert.notEqual(await isGivenBack(world), world.pid);
});

test("an agent that is killed between the signal and the end of the app waits for that, and gives the port back", async (t) => {
  const world = await beforeSwitch(t, { env: { OLD_STOP: "3000" } });
  const switching = world.doSwitch().catch((error: Error) => error);
  await until("the debt to be on disk", () => existsSync(world.ledger));
  assert.deepEqual(await world.old.running(), [world.pid]);
  await world.killAgent();
  assert.ok((await switching) instanceof Error);
  await until("the app to have ended", async () => !(await world.old.running()).includes(world.pid));
  assert.notEqual(await isGivenBack(world), world.pid);
});

test("an app that an agent was killed over, and that did not end, is not started twice", async (t) => {
  const world = await beforeSwitch(t, { env: { OLD_STOP: "never" }, entry: { deadline: "2 seconds" } });
  const switching = world.doSwitch().catch((error: Error) => error);
  await until("the debt to be on disk", () => existsSync(world.ledger));
  await world.killAgent();
  assert.ok((await switching) instanceof Error);
  assert.equal(await isGivenBack(world), world.pid);
});

test("an agent that is killed while it gives the port back starts the app once", async (t) => {
  const world = await beforeSwitch(t, {});
  await world.doSwitch();
  const aborting = world.client.abort(world.id, "test").catch((error: Error) => error);
  await until("the app to run again", async () => (await world.old.running()).length > 0);
  await world.killAgent();
  await aborting;
  await isGivenBack(world);
});

test("a deployer that dies after the port was taken has it given back once its lease is over", async (t) => {
  const world = await beforeSwitch(t, { leaseMs: 4000 });
  await renewing(world.client, world.id, 4000, world.doSwitch);
  assert.notEqual(await isGivenBack(world), world.pid);
  await until("the undo to be told", async () => (await world.client.transaction(world.id)).state === "undone");
});

test("a process that does not give way in time fails the change, and is left as it is", async (t) => {
  const world = await beforeSwitch(t, { env: { OLD_STOP: "never" }, entry: { deadline: "300 milliseconds" } });
  await assert.rejects(
    world.doSwitch(),
    /did not give way within 300 milliseconds of SIGTERM: give it a longer deadline or another signal, or allow SIGKILL by kill: true$/,
  );
  await world.client.abort(world.id, "test");
  assert.equal(await isGivenBack(world), world.pid);
});

test("SIGKILL ends what does not give way, where it is asked for", async (t) => {
  const entry = { deadline: "300 milliseconds", kill: true } as const;
  const world = await beforeSwitch(t, { env: { OLD_STOP: "never" }, entry });
  await world.doSwitch();
  await answers(world.port, "v1");
  assert.deepEqual(await world.old.running(), []);
  await world.client.commit(world.id);
  await until("nothing to be owed", () => !existsSync(world.ledger));
  assert.deepEqual(await world.old.running(), []);
});
