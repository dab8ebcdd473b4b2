import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import test from "node:test";
import { isAlive, parseStat, readStat, send, signalProcess } from "../../../src/agent/processes/identity";
import { exitFacts } from "../../../src/agent/processes/status";
import { until } from "../../support/until";
import { identityOf } from "./support";

test("a program's name with spaces and parentheses does not shift the fields", () => {
  const rest = Array.from({ length: 44 }, (_, i) => String(i + 9)).join(" ");
  assert.deepEqual(parseStat(`42 (a) R 1 (b c) S 7 42 40 0 -1 ${rest}`), {
    pid: 42,
    state: "S",
    parent: 7,
    group: 42,
    session: 40,
    startTime: "22",
  });
  for (const broken of ["", "42", "42 (a) S 1 2", "x (a) S 7 42 40 0 -1"]) assert.equal(parseStat(broken), undefined);
});

test("zombies and strangers with a reused pid are not alive, and not signalled", async () => {
  const child = spawn("/bin/sh", ["-c", "sleep 0.01 & echo $!; exec sleep 60"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  const zombie = Number(line);
  const stat = await until("the grandchild is a zombie", () =>
    readStat(zombie)?.state === "Z" ? readStat(zombie) : undefined,
  );
  assert(!isAlive(stat));
  assert(!signalProcess(stat, "SIGKILL"));
  const sleeper = identityOf(child.pid);
  assert(isAlive(sleeper));
  assert(!signalProcess({ ...sleeper, startTime: "1" }, "SIGKILL"));
  assert(signalProcess(sleeper, "SIGKILL"));
  await once(child, "exit");
  assert(!isAlive(sleeper));
  assert(!send(sleeper.pid, 0));
});

test("a shell's status is taken apart", () => {
  assert.deepEqual(exitFacts(0), { code: 0, signal: null });
  assert.deepEqual(exitFacts(128), { code: 128, signal: null });
  assert.deepEqual(exitFacts(134), { code: null, signal: "SIGABRT" });
  assert.deepEqual(exitFacts(137), { code: null, signal: "SIGKILL" });
  assert.deepEqual(exitFacts(255), { code: 255, signal: null });
});
