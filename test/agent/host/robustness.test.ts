import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rmdir, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { listenOnSocket } from "../../../src/agent/api/socket";
import { AgentError } from "../../../src/agent/client/connection";
import { send } from "../../../src/agent/processes/identity";
import { agentOptions } from "../../../src/model/protocol/agent";
import { agentPid, endEverything, startTestAgent, temporaryFolder } from "../../support/agent";
import { freeRange } from "../../support/ports";
import { change, OWNER } from "../../support/transaction";
import { until } from "../../support/until";
import { edgeStep } from "../support/pool";

test("an edge that can't start keeps neither the agent's answers nor another edge waiting", async (t) => {
  const agent = await startTestAgent(t);
  const { from } = await freeRange(2);
  await change(agent.client, "edge/main", [edgeStep(from)]);
  await change(agent.client, "edge/other", [edgeStep(from + 1, "other")]);
  const running = await agent.processes();
  // As after a reboot, on which somebody else was faster.
  for (const pid of [agent.guard, agent.about.pid, ...running.map(({ pid }) => pid)]) send(pid, "SIGKILL");
  await until("all to be gone", async () => (await agent.processes()).length === 0);
  const taker = createServer().listen(from, "127.0.0.1");
  t.after(() => taker.close());
  const again = await startTestAgent(t, { directory: agent.directory });
  assert.equal((await again.client.edge("other"))?.live.haproxy, "running");
  assert.equal((await again.client.edge("main"))?.live.haproxy, "stopped");
  taker.close();
  await until(
    "the edge to start once it can",
    async () => (await again.client.edge("main"))?.live.haproxy === "running",
  );
});

test("a transaction with a failed step can't be committed", async (t) => {
  const { client } = await startTestAgent(t);
  const { from } = await freeRange(1);
  const { id } = await client.begin({ target: "edge/main", owner: OWNER, leaseMs: 60_000 });
  const taker = createServer().listen(from, "127.0.0.1");
  t.after(() => taker.close());
  await assert.rejects(client.step(id, edgeStep(from), () => undefined));
  await assert.rejects(client.commit(id), (error) => error instanceof AgentError && error.code === "failed-step");
  assert.equal((await client.abort(id, "test")).state, "undone");
  assert.equal(await client.edge("main"), undefined);
});

test("a file in the place of the agent's socket is not removed", async (t) => {
  const path = join(await temporaryFolder(t), "precious");
  await writeFile(path, "precious");
  const server = createServer();
  const listening = listenOnSocket(server as never, agentOptions.parse({ socket: path }));
  await assert.rejects(listening, /is there already and is not a socket/);
  assert.equal(await readFile(path, "utf8"), "precious");
});

test("an agent keeps no credential of the update that started it", async (t) => {
  const names = ["PULUMI_CONFIG_PASSPHRASE", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "DATABASE_URL"];
  for (const name of names) process.env[name] = "hunter2";
  t.after(() => {
    for (const name of names) delete process.env[name];
  });
  const agent = await startTestAgent(t);
  for (const pid of [agent.guard, agent.about.pid]) {
    const environment = await readFile(`/proc/${pid}/environ`, "utf8");
    assert.doesNotMatch(environment, /hunter2/);
    assert.match(environment, /(?:^|\0)PATH=/);
  }
});

test("an agent starts on a full disk, and undoes what was open", async (t) => {
  if (process.getuid?.() !== 0) return t.skip("needs root, to mount a small file system");
  const directory = await mkdtemp(join(tmpdir(), "sl-"));
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", directory]);
  t.after(async () => {
    await endEverything(directory);
    execFileSync("umount", ["--lazy", directory]);
    await rmdir(directory);
  });
  const agent = await startTestAgent(t, { directory });
  const { from } = await freeRange(1);
  const { id } = await agent.client.begin({ target: "edge/main", owner: OWNER, leaseMs: 600_000 });
  await agent.client.step(id, edgeStep(from), () => undefined);
  execFileSync("sh", ["-c", 'cat /dev/zero > "$1/filler" 2>&1 || true', "sh", directory], { stdio: "ignore" });
  send(agent.about.pid, "SIGKILL");
  await until("the guard to start the agent again", async () => (await agentPid(directory)) !== undefined);
  await until("it to answer", async () => (await agent.client.about()).pid !== agent.about.pid);
  assert.equal(await agent.client.edge("main"), undefined);
  await until("what was open to be gone", async () => (await agent.processes()).length === 0);
});

test("a HAProxy that is stuck does not hide the others from whoever asks for everything", async (t) => {
  const agent = await startTestAgent(t);
  const { from } = await freeRange(2);
  await change(agent.client, "edge/main", [edgeStep(from)]);
  await change(agent.client, "edge/other", [edgeStep(from + 1, "other")]);
  const stuck = (await agent.processes()).filter(({ id }) => id === "edge.main");
  for (const { pid } of stuck) send(pid, "SIGSTOP");
  const { edges } = await agent.client.status();
  for (const { pid } of stuck) send(pid, "SIGCONT");
  assert.match(JSON.stringify(edges.main), /"error":"HAProxy did not answer/);
  assert.match(JSON.stringify(edges.other), /"haproxy":"running"/);
});
