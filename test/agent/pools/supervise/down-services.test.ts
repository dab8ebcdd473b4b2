import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { open, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { problemsOf } from "../../../../src/cli/status/problems";
import type { RestartPolicy } from "../../../../src/model/process/restart";
import { agentPid } from "../../../support/agent";
import { OWNER } from "../../../support/transaction";
import { until } from "../../../support/until";
import { app, type Processes, startPoolAgent, type TestPool, web } from "../support/agent";

const PATIENT = { deadlineMs: 60_000 };
/** Fails at its second exit. */
const GIVES_UP = { delay: "10 milliseconds", maxRestarts: 1 } as const;
/** Waits for its next start for as long as a test could last. */
const WAITS = { delay: "1 hour", cap: "1 hour" } as const;
const ENDINGS = [
  ["failed", GIVES_UP],
  ["backoff", WAITS],
] as const;

test("a service that is down", { concurrency: true }, async (t) => {
  const poolAgent = await startPoolAgent(t);
  const { client, directory, events } = poolAgent;

  /** A pool whose worker needs its broker, and whose broker needs a file of its release. */
  async function brokerPool(name: string) {
    const pool = await poolAgent.pool(name);
    const port = pool.ports.to;
    const range = { ports: { from: pool.ports.from, to: port - 1 } };
    const sound = (release: string) => join(directory, `${name}.${release}.sound`);
    const parts = (release: string, restart: Partial<RestartPolicy> = {}): Processes => ({
      web: web(),
      worker: app({}, { command: ["/bin/bash", "-c", `: </dev/tcp/127.0.0.1/${port} && exec sleep 1000`] }),
      broker: app(
        {},
        {
          policy: "service",
          port,
          command: `test -e ${sound(release)} || { echo "${release} is broken"; exit 3; }; exec ${process.execPath} app.cjs`,
          shell: true,
          health: { tcp: true, interval: "20 milliseconds", deadline: "10 seconds" },
          restart,
        },
      ),
    });
    const mend = (release: string) => writeFile(sound(release), "");
    const find = async () => (await client.pool(name))?.processes.find(({ key, wanted }) => key === "broker" && wanted);
    /** Breaks a release behind its back, and ends what runs of its broker. */
    const breakdown = async (release: string, state: "failed" | "backoff") => {
      await rm(sound(release));
      process.kill((await find())?.pid ?? 0, "SIGKILL");
      await until(`the broker of ${name} to be in ${state}`, async () => (await find())?.state === state, PATIENT);
    };
    return {
      pool,
      find,
      mend,
      breakdown,
      promote: (release: string, restart?: Partial<RestartPolicy>) =>
        pool.promote(release, parts(release, restart), range),
      start: (release: string, restart?: Partial<RestartPolicy>) => pool.start(release, parts(release, restart), range),
    };
  }

  /** The broker of v1 is down as it was: nothing of it runs, and it is counted as before. */
  async function asBefore(
    { pool, find }: { pool: TestPool; find: Awaited<ReturnType<typeof brokerPool>>["find"] },
    before: Awaited<ReturnType<typeof find>>,
  ) {
    await until(
      `the broker of ${pool.name} to be as before`,
      async () => (await find())?.state === before?.state,
      PATIENT,
    );
    const { pid, release, restarts, restartsInWindow, reason, dueAt, lastExit } = (await find()) ?? {};
    assert.deepEqual(
      { pid, release, restarts, restartsInWindow, reason, dueAt, lastExit },
      {
        pid: undefined,
        release: "v1",
        restarts: before?.restarts,
        restartsInWindow: before?.restartsInWindow,
        reason: before?.reason,
        dueAt: before?.dueAt,
        lastExit: before?.lastExit,
      },
    );
    await client.settle(pool.name);
    const found = (await client.pool(pool.name))?.processes.filter(({ pid }) => pid !== undefined);
    assert.deepEqual(found?.map(({ key, release: of }) => `${key}@${of}`).toSorted(), ["web#0@v1", "worker#0@v1"]);
    assert.equal(await pool.get(), "web#0@v1");
  }

  await Promise.all([
    ...ENDINGS.map(([state, restart]) =>
      t.test(`(${state}) is started from the release that mends it`, async () => {
        const it = await brokerPool(`fix-${state}`);
        await it.mend("v1");
        await it.promote("v1", restart);
        await it.breakdown("v1", state);
        await it.mend("v2");
        await it.promote("v2", restart);
        const { release, state: now, reason, restartsInWindow } = (await it.find()) ?? {};
        assert.deepEqual([release, now, reason, restartsInWindow], ["v2", "running", "deploy", 0]);
        assert.equal(await it.pool.get(), "web#0@v2");
        const messages = events.map(({ message }) => message);
        assert.ok(messages.includes(`broker of pool fix-${state} is down (${state}): v2's template starts it`));
      }),
    ),

    t.test("is started from an older release by a rollback", async () => {
      const it = await brokerPool("rollback");
      await Promise.all(["v1", "v2"].map(it.mend));
      await it.promote("v1", GIVES_UP);
      const first = (await it.find())?.pid;
      await it.promote("v2", GIVES_UP);
      assert.equal((await it.find())?.pid, first, "what runs well is left alone");
      await it.breakdown("v2", "failed");
      await it.promote("v1", GIVES_UP);
      const { release, state, reason } = (await it.find()) ?? {};
      assert.deepEqual([release, state, reason], ["v1", "running", "rollback"]);
      assert.equal(await it.pool.get(), "web#0@v1");
    }),

    ...ENDINGS.map(([state, restart]) =>
      t.test(`(${state}) that the new release does not mend either is down as before`, async () => {
        const it = await brokerPool(`both-${state}`);
        await it.mend("v1");
        await it.promote("v1", restart);
        await it.breakdown("v1", state);
        const before = await it.find();
        await assert.rejects(
          it.promote("v2", restart),
          new RegExp(
            `broker of pool both-${state} \\(release v2\\) exited with code 3; its last output:\\n  \\| v2 is broken`,
          ),
        );
        await asBefore(it, before);
      }),
    ),

    t.test("comes up again by itself after an undo, where it was to", async () => {
      const it = await brokerPool("again");
      await it.mend("v1");
      await it.promote("v1", { delay: "2 seconds", jitter: 0 });
      await it.breakdown("v1", "backoff");
      await assert.rejects(it.promote("v2"), /v2 is broken/);
      await it.mend("v1");
      await until("the broker to run", async () => (await it.find())?.state === "running", PATIENT);
      assert.equal((await it.find())?.release, "v1");
    }),

    t.test("is replaced where its old template is just starting it", async () => {
      const pool = await poolAgent.pool("starting");
      const gate = join(directory, "starting.gate");
      const parts = (release: string, env: Record<string, string> = {}): Processes => ({
        web: web(),
        broker: app({ V: release, ...env }, { policy: "service", restart: { delay: "10 milliseconds", jitter: 0 } }),
      });
      const find = async () =>
        (await client.pool("starting"))?.processes.find(({ key, wanted }) => key === "broker" && wanted);
      await pool.promote("v1", parts("v1", { LD_PRELOAD: gate }));
      // The dynamic linker opens what it is to load, and waits for a writer, before the program runs.
      execFileSync("mkfifo", [gate]);
      process.kill((await find())?.pid ?? 0, "SIGKILL");
      await until("its next start", async () => (await find())?.state === "starting", PATIENT);
      const promotion = pool.promote("v2", parts("v2"));
      await until("the promotion to wait for that", async () => (await find())?.startsFrom === "v2", PATIENT);
      const writer = await open(gate, "w");
      await rm(gate);
      await writer.close();
      await promotion;
      const { release, state, pid } = (await find()) ?? {};
      assert.deepEqual([release, state], ["v2", "running"]);
      assert.match(await readFile(`/proc/${pid}/environ`, "latin1"), /\0V=v2\0/);
    }),

    t.test("since it does not become healthy is replaced, also while a process of it lives", async () => {
      const pool = await poolAgent.pool("hung");
      const parts = (healthy: string): Processes => ({
        web: web(),
        broker: app(
          { V: healthy },
          {
            policy: "service",
            health: {
              command: ["/bin/sh", "-c", `test -e ${join(directory, healthy)}`],
              interval: "20 milliseconds",
              checkInterval: "100 milliseconds",
              fall: 1,
              deadline: "1 minute",
            },
            restart: { delay: "10 milliseconds" },
          },
        ),
      });
      const find = async () =>
        (await client.pool("hung"))?.processes.find(({ key, wanted }) => key === "broker" && wanted);
      await writeFile(join(directory, "hung.v1"), "");
      await pool.promote("v1", parts("hung.v1"));
      await rm(join(directory, "hung.v1"));
      const stuck = await until(
        "the broker to be started again in vain",
        async () => {
          const found = await find();
          return found?.state === "starting" && found.restarts > 0 ? found : undefined;
        },
        PATIENT,
      );
      await assert.rejects(
        pool.promote("v2", {
          ...parts("hung.v1"),
          broker: app({ EXIT: "5" }, { policy: "service", minUptime: "1 minute" }),
        }),
        /exited with code 5/,
      );
      await until("v1's broker to be tried again", async () => (await find())?.state === "starting", PATIENT);
      assert.equal((await find())?.release, "v1");
      assert.notEqual((await find())?.pid, stuck.pid);
      await writeFile(join(directory, "hung.v3"), "");
      await pool.promote("v3", parts("hung.v3"));
      assert.deepEqual([(await find())?.release, (await find())?.state], ["v3", "running"]);
    }),
  ]);
});

test("an agent that is killed while a promotion mends a service puts it back as it was", async (t) => {
  const poolAgent = await startPoolAgent(t);
  const { client, directory } = poolAgent;
  const pool = await poolAgent.pool("killed");
  const sound = (release: string) => join(directory, `${release}.sound`);
  const parts = (release: string): Processes => ({
    web: web(),
    broker: app(
      {},
      {
        policy: "service",
        command: ["/bin/sh", "-c", `test -e ${sound(release)} || exit 3; exec sleep 1000`],
        health: { command: ["/usr/bin/test", "-e", `${sound(release)}.up`], interval: "20 milliseconds" },
        restart: GIVES_UP,
      },
    ),
  });
  const find = async () =>
    (await client.pool("killed"))?.processes.find(({ key, wanted }) => key === "broker" && wanted);
  for (const file of [sound("v1"), `${sound("v1")}.up`, sound("v2"), `${sound("v2")}.up`]) await writeFile(file, "");
  await pool.promote("v1", parts("v1"));
  await rm(sound("v1"));
  process.kill((await find())?.pid ?? 0, "SIGKILL");
  await until("the broker to have failed", async () => (await find())?.state === "failed", PATIENT);
  const before = await find();
  const serving = (await pool.processes()).get("web#0@v1")?.pid;

  const phases = ["start", "healthy", "switch", "follow"] as const;
  for (const phase of phases)
    await t.test(`in its phase ${phase}`, async () => {
      if (phase === "start") {
        await rm(`${sound("v2")}.up`);
        const { id } = await client.begin({ target: "pool/killed", owner: OWNER, leaseMs: 60_000 });
        const spec = await pool.spec("v2", parts("v2"));
        void client.step(id, { verb: "pool.start", pool: "killed", spec }, () => undefined).catch(() => undefined);
        await until("v2's broker to start", async () => (await find())?.state === "starting", PATIENT);
        assert.deepEqual(
          problemsOf(await client.status(), new Date()).filter(({ subject }) => subject.startsWith("broker")),
          [{ subject: "broker of pool killed", message: "is down (starting): v2's template starts it" }],
        );
      } else {
        await writeFile(`${sound("v2")}.up`, "");
        const id = await pool.start("v2", parts("v2"));
        assert.deepEqual([(await find())?.release, (await find())?.state], ["v2", "running"]);
        for (const verb of ["switch", "follow"] as const) {
          if (phase === "healthy") break;
          await client.step(id, { verb: `pool.${verb}`, pool: "killed" }, () => undefined);
          if (verb === phase) break;
        }
      }
      const agent = (await agentPid(directory)) ?? 0;
      process.kill(agent, "SIGKILL");
      await until(
        "the next agent to have undone it",
        async () => {
          const about = await client.about().catch(() => undefined);
          return about !== undefined && about.pid !== agent && (await find())?.state === "failed";
        },
        PATIENT,
      );
      await client.settle("killed");
      const { release, pid, restarts, lastExit } = (await find()) ?? {};
      assert.deepEqual(
        { release, pid, restarts, lastExit },
        { release: "v1", pid: undefined, restarts: before?.restarts, lastExit: before?.lastExit },
      );
      const left = (await client.pool("killed"))?.processes.filter((each) => each.pid !== undefined);
      assert.deepEqual(
        left?.map(({ key, release: of, pid: of2 }) => [key, of, of2]),
        [["web#0", "v1", serving]],
      );
      assert.equal(await pool.get(), "web#0@v1");
    });

  await t.test("and the next promotion mends it", async () => {
    await pool.promote("v2", parts("v2"));
    assert.deepEqual([(await find())?.release, (await find())?.state], ["v2", "running"]);
  });
});
