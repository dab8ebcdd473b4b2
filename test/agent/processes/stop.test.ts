import assert from "node:assert/strict";
import test from "node:test";
import { commandOf, isAlive } from "../../../src/agent/processes/identity";
import { until } from "../../support/until";
import { bench, identityOf, output, script } from "./support";

test("stop signals the main process and waits for it", async (t) => {
  const host = await (await bench(t)).open();
  await host.launch("a", script("trap 'echo bye; exit 5' INT; echo on; while :; do sleep 0.02; done"));
  await output(host, "a", /on/);
  const { state, exit } = await host.stop("a", { signal: "SIGINT", graceMs: 10_000 });
  assert.deepEqual([state, exit?.code, exit?.signal], ["exited", 5, null]);
  assert.deepEqual(await host.tail("a", { lines: 1 }), ["bye"]);
});

test("an app that ignores the signal is killed with its whole group after the grace", async (t) => {
  const host = await (await bench(t)).open();
  const { pid } = await host.launch("a", script("trap '' TERM; sleep 60 & echo child $!; while :; do sleep 0.1; done"));
  const child = identityOf(Number((await output(host, "a", /child/)).split(" ")[1]));
  const app = identityOf(pid);
  let exits = 0;
  host.on("exit", () => {
    exits += 1;
  });
  const begin = performance.now();
  const options = { signal: "SIGTERM", graceMs: 300 } as const;
  const [record, joined] = await Promise.all([host.stop("a", options), host.stop("a", options)]);
  assert(performance.now() - begin >= 300);
  assert.deepEqual(record, joined);
  assert.equal(record.exit?.signal, "SIGKILL");
  assert.equal(record.exit?.reason, "killed with its whole group, 300 ms after SIGTERM");
  assert(!isAlive(app));
  assert(!isAlive(child));
  assert.equal(exits, 1);
  assert.deepEqual(await host.stop("a", options), record, "stopping what is stopped changes nothing");
});

test("children that the app leaves are gone when stop resolves", async (t) => {
  const host = await (await bench(t)).open();
  await host.launch("a", script("sleep 60 & echo child $!; wait"));
  const child = identityOf(Number((await output(host, "a", /child/)).split(" ")[1]));
  await host.stop("a", { signal: "SIGTERM", graceMs: 5000 });
  assert(!isAlive(child));
});

test("a daemon that has left the group is an orphan after its parent's exit, and killed by stop", async (t) => {
  const { open, events } = await bench(t);
  const host = await open();
  await host.launch(
    "a",
    script("trap 'exit 0' USR1; (setsid sleep 60 & echo daemon $!); while :; do sleep 0.02; done"),
  );
  await host.launch("other", script("exec sleep 60"));
  const daemon = identityOf(Number((await output(host, "a", /daemon/)).split(" ")[1]));
  assert.deepEqual(await host.orphans(), [], "while its parent's record runs, it belongs to that");
  const { exit } = await host.stop("a", { signal: "SIGUSR1", graceMs: 10_000 });
  assert.equal(exit?.code, 0);
  assert(!isAlive(daemon));
  assert(
    events.some(({ message, data }) => /outside its group/.test(message) && String(data.pids) === `${daemon.pid}`),
  );
  assert.equal(host.get("other")?.state, "running");
});

test("an app in a session of its own making is killed after the grace, too", async (t) => {
  const host = await (await bench(t)).open();
  const code = "process.on('SIGTERM', () => undefined); setInterval(() => undefined, 1000); console.log('on')";
  const { pid } = await host.launch("a", {
    ...script(""),
    argv: ["/bin/sh", "-c", 'exec setsid --wait "$@"', "sh", process.execPath, "-e", code],
  });
  await output(host, "a", /on/);
  const app = identityOf(pid);
  await host.stop("a", { signal: "SIGCONT", graceMs: 100 });
  assert(!isAlive(app));
  assert.deepEqual(await host.orphans(), []);
});

test("a stop during the launch waits for it", async (t) => {
  const host = await (await bench(t)).open();
  const launch = host.launch("a", script("exec sleep 60"));
  const record = await host.stop("a", { signal: "SIGTERM", graceMs: 5000 });
  assert.equal(record.exit?.signal, "SIGTERM");
  await launch;
  const failing = host.launch("b", { ...script(""), argv: ["./missing"] });
  await Promise.all([
    assert.rejects(host.stop("b", { signal: "SIGTERM", graceMs: 1 }), /process b failed to start/),
    assert.rejects(failing, /does not exist/),
  ]);
});

test("orphans are listed, and killed only if pid, start time and marker match", async (t) => {
  const { open } = await bench(t);
  const host = await open();
  await host.launch("a", script("(setsid sleep 60 & echo daemon $!); sleep 0.1"));
  const daemon = identityOf(Number((await output(host, "a", /daemon/)).split(" ")[1]));
  await until("the app has exited", () => host.get("a")?.state === "exited");
  await until("the daemon runs its program", async () => (await commandOf(daemon.pid)) === "sleep 60");
  assert.deepEqual(await host.orphans(), [{ ...daemon, id: "a", command: "sleep 60" }]);
  await host.kill(daemon.pid, `${Number(daemon.startTime) - 1}`);
  assert(isAlive(daemon));
  const stranger = identityOf(process.pid);
  await assert.rejects(host.kill(stranger.pid, stranger.startTime), /was not started by agent/);
  await host.kill(daemon.pid, daemon.startTime);
  assert(!isAlive(daemon));
  assert.deepEqual(await host.orphans(), []);
});
