import assert from "node:assert/strict";
import test from "node:test";
import { isAlive, readStat, signalProcess } from "../../../src/agent/processes/identity";
import { until } from "../../support/until";
import { bench, identityOf, nextExit, output, script } from "./support";

test("exit codes and signals are seen, once each", async (t) => {
  const host = await (await bench(t)).open();
  let exits = 0;
  host.on("exit", () => {
    exits += 1;
  });
  const cases = [
    ["exit 0", 0, null],
    ["exit 42", 42, null],
    // So a shell also ends that can't execute a command, unless the command was seen to run: on a busy machine that takes time.
    ["sleep 2; exit 127", 127, null],
    ["kill -TERM $$", null, "SIGTERM"],
    ["kill -SEGV $$", null, "SIGSEGV"],
    ["kill -KILL $$", null, "SIGKILL"],
  ] as const;
  for (const [i, [end, code, signal]] of cases.entries()) {
    const launchedAt = Date.now();
    const ended = nextExit(host, `a${i}`);
    await host.launch(`a${i}`, script(`sleep 0.05; ${end}`));
    const { exit, state } = await ended;
    assert.equal(state, "exited");
    assert.deepEqual([exit?.code, exit?.signal, exit?.reason], [code, signal, undefined], end);
    const at = Date.parse(exit?.at ?? "");
    assert(at >= launchedAt && at <= Date.now(), `${exit?.at}`);
  }
  assert.equal(exits, cases.length);
  assert.deepEqual(await host.tail("a5", { lines: 5 }), [], "the shim adds nothing to the output");
});

test("signals to the whole group do not end the shim", async (t) => {
  const host = await (await bench(t)).open();
  const { group } = await host.launch(
    "a",
    script("trap 'exit 9' USR2; trap '' HUP INT QUIT TERM USR1; echo on; while :; do sleep 0.05; done"),
  );
  await output(host, "a", /on/);
  const ended = nextExit(host, "a");
  for (const signal of ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2"] as const)
    process.kill(-(group ?? 0), signal);
  assert.equal((await ended).exit?.code, 9);
});

test("when only the shim is killed, the app stays running, and its end is seen with an unknown code", async (t) => {
  const { open, events } = await bench(t);
  const host = await open();
  const { pid, group } = await host.launch("a", script("exec sleep 60"));
  process.kill(group ?? 0, "SIGKILL");
  await until("the loss is reported", () => events.some(({ message }) => /shim of process a was killed/.test(message)));
  assert.equal(host.get("a")?.state, "running");
  const ended = nextExit(host, "a");
  process.kill(pid ?? 0, "SIGTERM");
  const { exit } = await ended;
  assert.deepEqual(
    [exit?.code, exit?.signal, exit?.reason],
    [null, null, "exit code unknown: its shim was killed, too"],
  );
});

test("when shim and app are killed together, the end is seen, and remembered by the next agent", async (t) => {
  const { open } = await bench(t);
  const host = await open();
  const { group } = await host.launch("a", script("exec sleep 60"));
  const ended = nextExit(host, "a");
  process.kill(-(group ?? 0), "SIGKILL");
  const { exit } = await ended;
  assert.deepEqual(
    [exit?.code, exit?.signal, exit?.reason],
    [null, null, "exit code unknown: its shim was killed, too"],
  );
  host.close();
  assert.deepEqual((await open()).get("a")?.exit?.reason, exit?.reason);
});

test("a stopped shim that cannot tell how its app ended is given up on", async (t) => {
  const host = await (await bench(t)).open();
  const { pid, group } = await host.launch("a", script("exec sleep 60"));
  process.kill(group ?? 0, "SIGSTOP");
  const ended = nextExit(host, "a");
  process.kill(pid ?? 0, "SIGTERM");
  assert.equal((await ended).exit?.reason, "exit code unknown: its shim does not answer");
  await until("the shim is gone", () => {
    const stat = readStat(group ?? 0);
    return stat === undefined || stat.state === "Z";
  });
});

test("what an app leaves behind in its group is ended: SIGTERM, then SIGKILL", async (t) => {
  const { open, events } = await bench(t);
  const host = await open();
  await host.launch(
    "a",
    script("(trap '' TERM; echo deaf; while :; do sleep 0.1; done) & sleep 60 & echo pids $! $!; wait $!"),
  );
  const { pid } = host.get("a") ?? {};
  await output(host, "a", /deaf/);
  const child = identityOf(Number((await output(host, "a", /pids/)).split(" ")[1]));
  const ended = nextExit(host, "a");
  assert(signalProcess(identityOf(pid), "SIGKILL"));
  assert.equal((await ended).exit?.signal, "SIGKILL");
  await until("the leftovers are reported", () => events.some(({ message }) => /left others behind/.test(message)));
  assert(!isAlive(child));
  assert.deepEqual(await host.orphans(), []);
});
