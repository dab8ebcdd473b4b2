import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { installAgent } from "../../../src/agent/client/launch";
import { send } from "../../../src/agent/processes/identity";
import { agentOptions } from "../../../src/model/protocol/agent";
import { agentBundle } from "../../../src/provider/server";
import { startTestAgent, temporaryFolder } from "../../support/agent";
import { until } from "../../support/until";

/** Runs a folder's guard until it ends, and returns its exit code. */
async function guardCode(directory: string): Promise<unknown> {
  const guard = spawn("/bin/sh", [join(directory, "bin", "guard.sh"), directory, process.execPath], {
    stdio: "ignore",
    detached: true,
  });
  const deadline = setTimeout(() => send(-(guard.pid ?? 0), "SIGKILL"), 60_000);
  const [code] = await once(guard, "exit");
  clearTimeout(deadline);
  return code;
}

test("a guard ends where another agent has the folder or the socket, and leaves that one alone", async (t) => {
  const { directory, socket, about, client } = await startTestAgent(t);
  assert.equal(await guardCode(directory), 0);
  const other = await temporaryFolder(t);
  await installAgent(other, agentOptions.parse({ socket }), agentBundle());
  await writeFile(join(other, "agent.log"), "");
  assert.equal(await guardCode(other), 0);
  assert.equal((await client.about()).pid, about.pid);
});

test("the log of an agent that starts again and again stays short", async (t) => {
  const { directory, about, client } = await startTestAgent(t);
  const log = join(directory, "agent.log");
  await appendFile(log, "x".repeat(1024 * 1024 + 1));
  send(about.pid, "SIGKILL");
  await until("the guard to cut it", async () => (await stat(log)).size < 65_536);
  assert.equal((await readFile(`${log}.1`, "utf8")).length, 65_536);
  await until("the agent to come back", async () => (await client.about()).pid !== about.pid);
});
