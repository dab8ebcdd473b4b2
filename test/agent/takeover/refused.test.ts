import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import type { TakeoverEntry } from "../../../src/model/process/takeover";
import { startTestAgent } from "../../support/agent";
import { freePorts } from "../../support/ports";
import { change } from "../../support/transaction";
import { edgeStep } from "../support/pool";
import { answers, existingApp, takingEdge } from "./existing-app";

test("a preview refuses what it must not end, each by name, and ends nothing", async (t) => {
  const old = await existingApp(t);
  const first = await freePorts(4);
  const [port, other, own] = [first, first + 1, first + 2];
  const pid = await old.start(old.app(port));
  await answers(port, "old");
  const { client, about } = await startTestAgent(t);
  await change(client, "edge/other", [edgeStep(own, "other")]);
  const pidFile = join(old.folder, "app.pid");
  await writeFile(pidFile, `${pid}\n`);
  const stale = join(old.folder, "stale.pid");
  await writeFile(stale, `${pid}\n`);
  await utimes(stale, 1, 1);
  await writeFile(join(old.folder, "empty.pid"), "");
  const titled = await old.start(["/bin/bash", "-c", 'exec -a "app: master process" sleep 600']);
  const problems = async (entry: Partial<TakeoverEntry>, at = port) =>
    (await client.check(takingEdge(at, [entry]))).map(({ path, message }) => `${path}: ${message}`);
  const cases: [what: string, found: string[], expected: RegExp | undefined][] = [
    ["it by its port", await problems({ port }), undefined],
    ["it by its command", await problems({ command: old.app(port) }), undefined],
    ["it by its pid file and command", await problems({ pidFile, command: old.app(port), port }), undefined],
    [
      "another command",
      await problems({ port, command: ["nginx"] }),
      /^takeover\[0\]: port \d+: process \d+ \(.*old app.cjs.*\) has not the command that is stated \(nginx\): is it what you mean\?$/,
    ],
    ["a stale pid file", await problems({ pidFile: stale }), /has started after the file was written: it is stale/],
    ["an empty pid file", await problems({ pidFile: join(old.folder, "empty.pid") }), /holds no process id/],
    [
      "another port",
      await problems({ pidFile, port: other }),
      /nobody of it listens on port \d+: is it what you mean\?$/,
    ],
    [
      "a title",
      await problems({ command: ["app: master process", "600"] }),
      /shows a title instead of its command line/,
    ],
    ["Sluice's own", await problems({ port: own }, other), /is Sluice's own: change what declares it instead$/],
    [
      "a stranger on the port",
      await problems({ port: other }),
      /^frontends.http.binds\[0\]: .* is in use by process \d+ \(.*\), which takeover does not name/,
    ],
    ["a unit where no systemd runs", await problems({ unit: "old.service" }), systemdRefusal()],
  ];
  for (const [what, found, expected] of cases) {
    if (expected === undefined) assert.deepEqual(found, [], what);
    else assert.match(found[0] ?? "nothing was refused", expected, what);
  }
  assert.deepEqual((await old.running()).toSorted(), [pid, titled].toSorted());
  // The agent's own processes are never existing ones to take over.
  const agent = await problems({ command: commandOf(about.pid) }, other);
  assert.match(agent[0] ?? "", /is what the agent itself runs under|is Sluice's own/);
});

test("there may be nothing to take over", async (t) => {
  const { client } = await startTestAgent(t);
  const [port, other] = [await freePorts(1), await freePorts(1)];
  const step = takingEdge(port, [{ port: other }, { pidFile: "/nowhere/app.pid" }, { command: ["/nowhere/app"] }]);
  assert.deepEqual(await client.check(step), []);
  assert.deepEqual((await client.plan(step)).takeover, [
    `nothing to take over for port ${other}: nobody listens on port ${other}`,
    "nothing to take over for pid file /nowhere/app.pid: there is no pid file /nowhere/app.pid",
    "nothing to take over for command /nowhere/app: nothing runs that command /nowhere/app names",
    "the edge listens once every frontend's backend has a server",
  ]);
});

function commandOf(pid: number): string[] {
  return readFileSync(`/proc/${pid}/cmdline`, "utf8").replace(/\0$/, "").split("\0");
}

/** On a machine with systemd, it does not know the unit. */
function systemdRefusal(): RegExp {
  return /unit old.service (can't be taken over: (systemd does not run here|systemctl is not installed here); name the process by pidFile, port or command instead|is not known to systemd on this host)/;
}
