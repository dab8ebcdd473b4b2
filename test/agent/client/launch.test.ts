import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, mkdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import test from "node:test";
import { promisify } from "node:util";
import { AgentClient } from "../../../src/agent/client/client";
import { aboutAgent, installAgent, restartAgent, startAgent, stopAgent } from "../../../src/agent/client/launch";
import { commandOf, isDead, readStat, send } from "../../../src/agent/processes/identity";
import { type AgentOptions, agentOptions, MAX_SOCKET_PATH } from "../../../src/model/protocol/agent";
import { issueMessage } from "../../../src/model/types/messages";
import { agentBundle } from "../../../src/provider/server";
import { endEverything, startTestAgent, temporaryFolder } from "../../support/agent";
import { until } from "../../support/until";
import { startPoolAgent, web } from "../pools/support/agent";

const forAMinute = () => AbortSignal.timeout(60_000);

/** Processes that run something in a folder. */
async function runners(directory: string): Promise<string[]> {
  const { readdir } = await import("node:fs/promises");
  const pids = (await readdir("/proc")).filter((entry) => /^\d+$/.test(entry)).map(Number);
  const commands = await Promise.all(pids.map((pid) => commandOf(pid).catch(() => "")));
  return commands.filter((command) => command.includes(join(directory, "bin")));
}

/** Starts an agent that can't start, and returns why. */
async function failure(t: test.TestContext, options: Partial<AgentOptions> & { directory?: string }): Promise<string> {
  const { directory = await temporaryFolder(t), ...rest } = options;
  const parsed = agentOptions.parse({ socket: join(directory, "a.sock"), ...rest });
  await installAgent(directory, parsed, agentBundle());
  const error = await startAgent(directory, parsed.socket, forAMinute()).then(
    () => assert.fail("it started"),
    (reason: Error) => reason,
  );
  return error.message;
}

test("an agent that can't start says why, and leaves no guard that tries on", async (t) => {
  await t.test("in a folder that another one has", async (t) => {
    const { directory, about, client } = await startTestAgent(t);
    const message = await failure(t, { directory, socket: join(directory, "b.sock") });
    assert.match(
      message,
      new RegExp(
        `^the agent of ${directory} can't start: .*${directory} belongs to the running agent with process id ${about.pid} on ${directory}/a\\.sock: stop it first`,
      ),
    );
    assert.equal((await client.about()).pid, about.pid);
    await until("one guard and one agent to be left", async () => (await runners(directory)).length === 2);
  });

  await t.test("on a socket that another one has", async (t) => {
    const { socket, about, client } = await startTestAgent(t);
    const directory = await temporaryFolder(t);
    await installAgent(directory, agentOptions.parse({ socket }), agentBundle());
    // The other agent answers: it is never taken for the new one.
    await assert.rejects(
      startAgent(directory, socket, forAMinute()),
      new RegExp(`${socket} belongs to (?:a|the) running agent`),
    );
    assert.equal((await client.about()).pid, about.pid);
    await until("nothing to be left", async () => (await runners(directory)).length === 0);
  });

  await t.test("for an unknown user or group", async (t) => {
    const directory = await temporaryFolder(t);
    assert.match(
      await failure(t, { directory, owner: "nobody-knows-me" }),
      /can't start: .*user nobody-knows-me is not on this host: create it, or leave it out/,
    );
    assert.match(
      await failure(t, { directory, group: "nobody-knows-us" }),
      /can't start: .*group nobody-knows-us is not on this host: create it, or leave it out/,
    );
    await until("nothing to be left", async () => (await runners(directory)).length === 0);
  });

  await t.test("with options that were edited", async (t) => {
    const directory = await temporaryFolder(t);
    const socket = join(directory, "a.sock");
    await installAgent(directory, agentOptions.parse({ socket }), agentBundle());
    await writeFile(join(directory, "agent.json"), '{"version":"x","options":{"socket":"relative.sock"}}');
    await assert.rejects(startAgent(directory, socket, forAMinute()), /can't start: /);
    await until("nothing to be left", async () => (await runners(directory)).length === 0);
  });
});

test("options that no agent can have are refused before", () => {
  const problem = (options: object) =>
    agentOptions.safeParse(options, { error: issueMessage }).error?.issues[0]?.message ?? "";
  assert.match(problem({ socket: "run/a.sock" }), /"run\/a\.sock" is not an absolute path/);
  assert.match(problem({ socket: "/run/../a.sock" }), /is not an absolute path without "\.\."/);
  assert.match(
    problem({ socket: `/${"x".repeat(MAX_SOCKET_PATH)}` }),
    /is too long for a Unix socket \(107 bytes\): use a shorter path/,
  );
  assert.match(problem({ socket: `/${"é".repeat(60)}` }), /is too long for a Unix socket/);
  assert.match(problem({ socket: "/a", mode: "rw" }), /"rw" is not a file mode/);
  assert.match(problem({ socket: "/a", owner: "root; id" }), /is not the name of a user or group/);
});

test("the agent's socket", async (t) => {
  const modeOf = async (path: string) => ((await stat(path)).mode & 0o777).toString(8);

  await t.test("is its user's alone by default, and from its first moment", async (t) => {
    const directory = await temporaryFolder(t);
    const socket = join(directory, "a.sock");
    const seen = new Set<string>();
    const watching = new AbortController();
    const watch = (async () => {
      while (!watching.signal.aborted) {
        seen.add(await modeOf(socket).catch(() => "none"));
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    await startTestAgent(t, { directory });
    watching.abort();
    await watch;
    assert.deepEqual([...seen].toSorted(), ["600", "none"]);
  });

  await t.test("has the mode, owner and group that are declared", async (t) => {
    if (process.getuid?.() !== 0) return t.skip("needs root, to give a file away");
    const { socket } = await startTestAgent(t, { agent: { mode: "0660", owner: "nobody", group: "daemon" } });
    const { uid, gid } = await stat(socket);
    const idOf = async (file: string, name: string) =>
      Number(new RegExp(`^${name}:[^:]*:(\\d+)`, "m").exec(await readFile(file, "utf8"))?.[1]);
    assert.equal(await modeOf(socket), "660");
    assert.deepEqual([uid, gid], [await idOf("/etc/passwd", "nobody"), await idOf("/etc/group", "daemon")]);
  });

  await t.test("replaces one that nobody listens on any more", async (t) => {
    const directory = await temporaryFolder(t);
    const first = await startTestAgent(t, { directory });
    await endEverything(directory);
    assert.ok((await stat(first.socket)).isSocket());
    const second = await startTestAgent(t, { directory });
    assert.notEqual(second.about.pid, first.about.pid);
  });

  await t.test("is not taken from somebody else who listens there", async (t) => {
    const directory = await temporaryFolder(t);
    const socket = join(directory, "a.sock");
    const other = createServer((connection) => connection.destroy()).listen(socket);
    t.after(() => other.close());
    await until("it to listen", () => other.listening);
    assert.match(
      await failure(t, { directory }),
      new RegExp(`${socket} belongs to a running agent: stop that one, or use another socket`),
    );
    assert.ok(other.listening);
  });
});

test("an agent's restart", async (t) => {
  const poolAgent = await startPoolAgent(t);
  const { directory, socket, client, guard } = poolAgent;
  const pool = await poolAgent.pool("web");
  await pool.promote("v1", { web: web() });
  const before = await poolAgent.settledPids();
  const running = async () => (await poolAgent.processes()).map(({ pid }) => pid).toSorted((a, b) => a - b);
  const first = await client.about();

  await t.test("keeps processes and HAProxy, under the same guard", async () => {
    assert.equal(first.guarded, true);
    const second = await restartAgent(directory, socket, first, forAMinute());
    assert.notEqual(second.pid, first.pid);
    assert.equal(readStat(second.pid)?.parent, guard);
    assert.deepEqual(await running(), before);
    assert.equal(await pool.get(), "web#0@v1");
  });

  await t.test("takes the version that is installed", async () => {
    const options = agentOptions.parse({ socket });
    await installAgent(directory, options, { ...agentBundle(), version: "9.9.9" });
    const upgraded = await restartAgent(directory, socket, await client.about(), forAMinute());
    assert.equal(upgraded.version, "9.9.9");
    assert.deepEqual(await running(), before);
  });

  await t.test("waits for no transaction: it is refused while one is open", async () => {
    const { id } = await client.begin({
      target: "pool/other",
      owner: { who: "ana", why: "t", pid: 1 },
      leaseMs: 60_000,
    });
    await assert.rejects(
      client.shutdown({ restart: true }),
      /the agent has an open transaction on pool\/other of ana since .*: wait for it/,
    );
    await client.abort(id, "end");
  });

  await t.test("is its guard's work when it is killed", async () => {
    const { pid } = await client.about();
    send(pid, "SIGKILL");
    const next = await until("the next one", async () => {
      const about = await aboutAgent(socket);
      return about?.pid === pid ? undefined : about;
    });
    assert.equal(next.guarded, true);
    assert.deepEqual(await running(), before);
  });

  await t.test("is by nobody once the guard is gone, which the agent tells", async () => {
    send(guard, "SIGKILL");
    await until("the guard to be gone", () => {
      const found = readStat(guard);
      return found === undefined || isDead(found);
    });
    const about = await client.about();
    assert.equal(about.guarded, false);
    const again = await restartAgent(directory, socket, about, forAMinute());
    assert.equal(again.guarded, true);
    assert.deepEqual(await running(), before);
    await stopAgent(again, forAMinute());
    assert.equal(await aboutAgent(socket), undefined);
    assert.deepEqual(await running(), before);
    assert.equal(await pool.get(), "web#0@v1");
  });
});

/** Path of a tool on this machine. */
async function onThisPath(tool: string): Promise<string> {
  const found = await promisify(execFile)("/bin/sh", ["-c", 'command -v "$1"', "sh", tool]);
  return found.stdout.trim();
}

test("an agent whose Node.js is removed comes back by one on PATH, and doctor tells", async (t) => {
  const directory = await temporaryFolder(t);
  const pinned = join(directory, "version 20", "node");
  const path = join(directory, "path");
  await Promise.all([mkdir(join(directory, "version 20")), mkdir(path)]);
  await symlink(process.execPath, pinned);
  // A script that names itself Node.js, and is too old.
  const onPath = join(path, "node");
  // All that the guard needs, in a folder without a Node.js.
  const tools = ["date", "id", "sleep", "stat", "tail", "wc"];
  await Promise.all(tools.map(async (tool) => symlink(await onThisPath(tool), join(path, tool))));
  await writeFile(onPath, '#!/bin/sh\n[ "$1" = -p ] && echo 18.20.0 && exit 0\nexit 1\n');
  await chmod(onPath, 0o755);
  const options = agentOptions.parse({ socket: join(directory, "a.sock") });
  await installAgent(directory, options, agentBundle());
  const { PATH = "" } = process.env;
  process.env.PATH = path;
  t.after(() => {
    process.env.PATH = PATH;
  });
  const first = await startAgent(directory, options.socket, forAMinute(), pinned);
  process.env.PATH = PATH;
  const client = new AgentClient(options.socket);
  t.after(() => client.close());
  const node = async () => (await client.doctor()).checks.find(({ name }) => name === "node");
  assert.deepEqual(await node(), {
    name: "node",
    verdict: "good",
    message: `the agent starts by ${pinned}, Node.js ${process.versions.node}`,
  });

  await rm(pinned);
  const lost = `${pinned}, the Node.js that the agent was installed with, is gone`;
  assert.deepEqual((await node())?.verdict, "problem");
  assert.ok((await node())?.message.startsWith(`${lost}, and no Node.js >= 20 is on its PATH`));
  await writeFile(pinned, await readFile(onPath), { mode: 0o755 });
  assert.match(
    (await node())?.message ?? "",
    /node, the Node.js that the agent was installed with, is 18\.20\.0 by now, and too old/,
  );
  await rm(pinned);

  send(first.pid, "SIGKILL");
  const log = () => readFile(join(directory, "agent.log"), "utf8");
  await until("the guard to say what is missing", async () => (await log()).includes(`${pinned} is no Node.js >= 20`));
  await rm(onPath);
  await symlink(process.execPath, onPath);
  await until("another agent", async () => (await aboutAgent(options.socket))?.pid !== undefined);
  const second = await aboutAgent(options.socket);
  assert.notEqual(second?.pid, first.pid);
  assert.equal(second?.guarded, true);
  const found = await node();
  assert.equal(found?.verdict, "warning");
  assert.ok(found?.message.startsWith(`${lost}: its next start is by ${onPath}, which is on its PATH`), found?.message);
});
