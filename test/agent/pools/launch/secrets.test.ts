import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { chmod, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { startAgent } from "../../../../src/agent/client/launch";
import { surroundingsOf } from "../../../../src/agent/pools/health/probe-command";
import { allStats, send } from "../../../../src/agent/processes/identity";
import { powerCut } from "../../../faults/support/host";
import { agentPid } from "../../../support/agent";
import { change } from "../../../support/transaction";
import { until } from "../../../support/until";
import { app, startPoolAgent, type TestPool, web } from "../support/agent";

/** Notes a digest of what it reads from its descriptor, from its start each time, and that nobody can write to it. */
const READER = `
const { readFileSync, openSync, appendFileSync } = require("node:fs");
const path = "/dev/fd/" + process.env.SLUICE_FD_PASSWORD;
const read = () => require("node:crypto").createHash("sha256").update(readFileSync(path)).digest("hex");
const writable = () => { try { openSync(path, "r+"); return "writable"; } catch { return "read-only"; } };
const [what] = process.argv.slice(1);
const facts = [what, read(), read(), process.getuid() === 0 ? "root" : writable(), process.env.PASSWORD ?? "none", process.env.API_KEY?.length];
appendFileSync(process.env.TRACE, facts.join(" ") + "\\n");
if (what === "start") setInterval(() => undefined, 1000);
`;
const USER = process.getuid?.() === 0 ? { user: "nobody" } : {};

test("secrets reach a process by its environment or a file descriptor, and nobody else", async (t) => {
  const poolAgent = await startPoolAgent(t);
  const outside = await mkdtemp(join(tmpdir(), "sl-secret-"));
  t.after(() => rm(outside, { recursive: true, force: true }));
  await chmod(outside, 0o777);
  const TRACE = join(outside, "trace");
  const [password, apiKey] = [`pw-${randomBytes(12).toString("hex")}`, `key-${randomBytes(12).toString("hex")}`];
  const digest = createHash("sha256").update(password).digest("hex");
  const lines = async () => (await readFile(TRACE, "utf8").catch(() => "")).split("\n").slice(0, -1);
  const line = (what: string) =>
    `${what} ${digest} ${digest} ${"user" in USER ? "read-only" : "root"} none ${apiKey.length}`;
  const starts = async () => (await lines()).filter((each) => each === line("start")).length;
  const pool: TestPool = await poolAgent.pool("shop");
  const run = (what: string) => [process.execPath, "-e", READER, what];
  const spec = await pool.spec("v1", {
    web: web(),
    side: app(
      { PASSWORD: password, API_KEY: apiKey, TRACE },
      {
        ...USER,
        cwd: "/",
        command: run("start"),
        secrets: { PASSWORD: { fd: 5 } },
        health: { command: run("health"), interval: "20 milliseconds" },
        lifecycle: { quiet: run("quiet") },
        restart: { delay: "10 milliseconds" },
      },
    ),
  });
  const promote = () =>
    change(poolAgent.client, "pool/shop", [
      { verb: "pool.start", pool: "shop", spec, secrets: { side: ["PASSWORD", "API_KEY"] } },
      { verb: "pool.switch", pool: "shop" },
      { verb: "pool.follow", pool: "shop" },
    ]);
  const side = async () => (await pool.processes()).get("side#0@v1");
  const running = () =>
    until(
      "the process to run",
      async () => {
        const found = await side().catch(() => undefined);
        return found?.state === "running" ? (found.pid ?? 0) : undefined;
      },
      { deadlineMs: 60_000 },
    );

  await t.test("at its start and to its health check", async () => {
    await promote();
    assert.equal(await starts(), 1);
    assert.ok((await lines()).includes(line("health")), (await lines()).join("\n"));
  });

  await t.test("after a crash", async () => {
    send(await running(), "SIGKILL");
    await until("the second start", async () => (await starts()) === 2, { deadlineMs: 60_000 });
  });

  await t.test("of the agent, too", async () => {
    const before = await running();
    send((await agentPid(poolAgent.directory)) ?? 0, "SIGKILL");
    await until("the next agent", async () => (await agentPid(poolAgent.directory)) !== undefined, {
      deadlineMs: 60_000,
    });
    assert.equal(await running(), before);
    send(before, "SIGKILL");
    await until("the third start", async () => (await starts()) === 3, { deadlineMs: 60_000 });
  });

  await t.test("of the host, too", async () => {
    await powerCut(poolAgent.directory);
    await startAgent(poolAgent.directory, poolAgent.socket, AbortSignal.timeout(60_000));
    await running();
    // It runs before it has noted that.
    await until("the fourth start", async () => (await starts()) === 4, { deadlineMs: 60_000 });
  });

  await t.test("and are in no listing, environment, file, event, log or answer that should not have them", async () => {
    const pid = await running();
    const listings = (await allStats()).map(({ pid: each }) => each);
    const group = (await allStats()).find((stat) => stat.pid === pid)?.group ?? 0;
    const surroundings = surroundingsOf({ group, pid });
    assert.ok(surroundings !== undefined);
    const texts: Record<string, string> = {
      "process listings": (await Promise.all(listings.map((each) => textOf(`/proc/${each}/cmdline`)))).join("\n"),
      "its environment": (await textOf(`/proc/${pid}/environ`)).replaceAll(apiKey, ""),
      "the environment of its commands": JSON.stringify(surroundings.env).replaceAll(apiKey, ""),
      "the agent's environment": await textOf(`/proc/${await agentPid(poolAgent.directory)}/environ`),
      "the agent's answers": JSON.stringify([await poolAgent.client.status(), await poolAgent.client.pool("shop")]),
      events: JSON.stringify(poolAgent.events),
    };
    for (const path of await filesIn(poolAgent.directory))
      if (!path.startsWith(join(poolAgent.directory, "secrets"))) texts[path] = await textOf(path);
    for (const [where, text] of Object.entries(texts))
      for (const secret of [password, apiKey]) assert.ok(!text.includes(secret), `a secret is in ${where}`);
  });

  await t.test("to the end, and then there is nothing left of them", async () => {
    await pool.promote("v2", { web: web() });
    assert.equal((await lines()).at(-1), line("quiet"));
    for (const path of await filesIn(poolAgent.directory)) {
      const text = await textOf(path);
      for (const secret of [password, apiKey]) assert.ok(!text.includes(secret), path);
    }
  });
});

async function textOf(path: string): Promise<string> {
  return readFile(path, "latin1").catch(() => "");
}

async function filesIn(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}
