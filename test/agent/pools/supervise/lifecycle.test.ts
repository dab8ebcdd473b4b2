import assert from "node:assert/strict";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { send } from "../../../../src/agent/processes/identity";
import { until } from "../../../support/until";
import { app, startPoolAgent, web } from "../support/agent";

/** A command that notes its kind, its process and a variable of it. */
const noting = (what: string, then = ""): string[] => [
  "/bin/sh",
  "-c",
  `echo "${what} $SLUICE_PID $GREETING {{process.id}}" >>"$TRACE"; ${then}`,
];

test("the end of a process", async (t) => {
  const poolAgent = await startPoolAgent(t);
  const { client, directory, events } = poolAgent;
  const linesOf = async (path: string) => (await readFile(path, "utf8").catch(() => "")).split("\n").slice(0, -1);
  const hasEvent = (pool: string, text: RegExp) =>
    events.some(({ data, message }) => data.pool === pool && text.test(message));

  await t.test("is its quiet, drain and stop command, with its environment and its pid", async () => {
    const pool = await poolAgent.pool("order");
    const TRACE = join(directory, "order");
    const lifecycle = {
      quiet: noting("quiet"),
      drain: noting("drain"),
      drainTimeout: "10 seconds",
      stop: noting("stop", 'kill -TERM "$SLUICE_PID"'),
    } as const;
    const side = app({ TRACE, GREETING: "hello" }, { lifecycle, gracefulStop: "10 seconds" });
    await pool.promote("v1", { web: web(), side });
    const pid = (await pool.processes()).get("side#0@v1")?.pid;
    await pool.promote("v2", { web: web() });
    assert.deepEqual(await linesOf(TRACE), [
      "start side#0@v1",
      `quiet ${pid} hello side#0`,
      `drain ${pid} hello side#0`,
      `stop ${pid} hello side#0`,
      "end side#0@v1",
    ]);
    const states = events.filter(({ data }) => data.pool === "order" && data.key === "side#0" && data.state);
    assert.deepEqual(
      states.slice(2).map(({ data }) => `${data.old} -> ${data.state} (${data.reason})`),
      [
        "running -> quieting (deploy)",
        "quieting -> draining (deploy)",
        "draining -> stopping (deploy)",
        "stopping -> stopped (deploy)",
      ],
    );
  });

  await t.test("comes whatever its commands do", async () => {
    const pool = await poolAgent.pool("bad");
    // There when the release starts, else it is refused, and gone when it ends.
    const program = join(directory, "gone");
    await writeFile(program, "#!/bin/sh\n", { mode: 0o700 });
    const lifecycle = {
      quiet: ["/bin/sh", "-c", "trap : TERM; while :; do sleep 1; done"],
      quietTimeout: "200 milliseconds",
      drain: ["/bin/sh", "-c", "exit 3"],
      drainTimeout: "30 seconds",
      stop: [program],
    } satisfies NonNullable<ReturnType<typeof app>["lifecycle"]>;
    await pool.promote("v1", { web: web(), side: app({}, { lifecycle, gracefulStop: "20 seconds" }) });
    await rm(program);
    await pool.promote("v2", { web: web() });
    assert.deepEqual([...(await pool.processes()).keys()], ["web#0@v2"]);
    assert.ok(hasEvent("bad", /^the quiet command of side#0 .* did not end within 200 ms and was killed$/));
    assert.ok(hasEvent("bad", /^the drain command of side#0 .* exited with code 3$/));
    assert.ok(hasEvent("bad", /^the stop command of side#0 .*\/gone does not exist/));
    const stop = events.find(({ data }) => data.pool === "bad" && data.key === "side#0" && data.state === "stopped");
    const { code } = (stop?.data.exit ?? {}) as { code?: number };
    assert.equal(code, 0);
    assert.deepEqual(
      (await poolAgent.processes()).filter(({ id }) => id.includes("@")),
      [],
    );
  });

  await t.test("may be its own, within its time", async () => {
    const pool = await poolAgent.pool("own");
    const done = join(directory, "own");
    const worker = (file: string, lifecycle: object) =>
      app({ DONE: file }, { command: 'while [ ! -e "$DONE" ]; do sleep 0.05; done', shell: true, lifecycle });
    await pool.promote("v1", {
      web: web(),
      side: worker(done, { quiet: ["touch", done], drainTimeout: "1 minute" }),
      late: worker("/nowhere", { drainTimeout: "100 milliseconds" }),
    });
    await pool.promote("v2", { web: web() });
    const exitOf = (key: string) =>
      events.find(({ data }) => data.pool === "own" && data.state === "stopped" && data.key === key)?.data.exit;
    const { code } = exitOf("side#0") as { code: number };
    const { signal } = exitOf("late#0") as { signal: string };
    assert.deepEqual({ code, signal }, { code: 0, signal: "SIGTERM" });
    assert.ok(hasEvent("own", /^late#0 .* did not end by itself within its drainTimeout$/));
  });

  await t.test("goes on where an agent dies, and no command runs twice", async () => {
    const pool = await poolAgent.pool("killed");
    const TRACE = join(directory, "killed");
    const go = join(directory, "killed.go");
    const lifecycle = {
      quiet: noting("quiet"),
      drain: noting("drain", `while [ ! -e ${go} ]; do sleep 0.05; done; echo drained >>"$TRACE"`),
      drainTimeout: "1 minute",
    } as const;
    await pool.promote("v1", { web: web(), side: app({ TRACE }, { lifecycle, gracefulStop: "10 seconds" }) });
    const pid = (await pool.processes()).get("side#0@v1")?.pid;
    await pool.promote("v2", { web: web() }, { settle: false });
    await until("the drain to begin", async () => (await linesOf(TRACE)).length === 3);
    const { pid: agent } = await client.about();
    send(agent, "SIGKILL");
    await until("another agent", async () => (await client.about()).pid !== agent);
    assert.equal((await pool.processes()).get("side#0@v1")?.state, "draining");
    await writeFile(go, "");
    await until("it to be gone", async () => !(await pool.processes()).has("side#0@v1"));
    assert.deepEqual(await linesOf(TRACE), [
      "start side#0@v1",
      `quiet ${pid}  side#0`,
      `drain ${pid}  side#0`,
      "drained",
      "end side#0@v1",
    ]);
  });

  await t.test("begins at once for a companion that does not wait for connections", async () => {
    const pool = await poolAgent.pool("parallel");
    await pool.promote("v1", { web: web(), waits: app(), goes: app({}, { nonBlockingDrain: true }) });
    const slow = fetch(`${pool.url}/hang`);
    const { body } = await slow;
    await pool.promote("v2", { web: web() }, { settle: false, drainDeadline: "1 minute" });
    await until("the one to be gone", async () => !(await pool.processes()).has("goes#0@v1"));
    const left = await pool.processes();
    assert.deepEqual([...left.keys()].toSorted(), ["waits#0@v1", "web#0@v1", "web#0@v2"]);
    await body?.cancel();
    await client.settle("parallel");
    assert.deepEqual([...(await pool.processes()).keys()], ["web#0@v2"]);
  });
});
