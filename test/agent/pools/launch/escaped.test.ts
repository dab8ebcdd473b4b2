import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { Cgroups } from "../../../../src/agent/processes/cgroups";
import { type Identity, isAlive, readStat } from "../../../../src/agent/processes/identity";
import { until } from "../../../support/until";
import { app, startPoolAgent, web } from "../support/agent";

test("what a process has started ends with it, whatever it did to hide", async (t) => {
  const skip = await new Cgroups("trial").trackingProblem();
  if (skip !== undefined) return t.skip(skip);
  const poolAgent = await startPoolAgent(t);
  const { directory, client } = poolAgent;
  const pool = await poolAgent.pool("web");
  const pidFile = (release: string) => join(directory, `${release}.pid`);
  // It forks twice, into a session of its own, and keeps nothing of its environment.
  const hiding = (release: string) =>
    `(setsid env -i sh -c 'echo $$ >"$0"; exec sleep 1000' ${pidFile(release)} &) ; exec sleep 1000`;
  const processes = (release: string) => ({ web: web(), side: app({}, { command: hiding(release), shell: true }) });
  const hidden = async (release: string): Promise<Identity> => {
    const pid = await until(`the hidden process of ${release}`, async () => {
      const text = await readFile(pidFile(release), "utf8").catch(() => "");
      return Number(text.trim()) || undefined;
    });
    return { pid, startTime: readStat(pid)?.startTime ?? assert.fail() };
  };

  await pool.promote("v1", processes("v1"));
  const first = await hidden("v1");
  assert.ok(isAlive(first));
  await pool.promote("v2", processes("v2"));
  const second = await hidden("v2");
  assert.ok(!isAlive(first));
  await client.restart("web", { process: "side" }, () => undefined);
  await until("the process of before the restart to end", () => !isAlive(second));
  const { checks } = await client.doctor();
  assert.deepEqual(
    checks.filter(({ name }) => name === "cgroups").map(({ verdict }) => verdict),
    ["good"],
  );
});
