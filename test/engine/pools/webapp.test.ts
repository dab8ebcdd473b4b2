import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Agent, request as httpRequest } from "node:http";
import { request as httpsRequest, type RequestOptions, Agent as TlsAgent } from "node:https";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { WebSocket } from "ws";
import { AgentClient } from "../../../src/agent/client/client";
import { endEverything, temporaryFolder } from "../../support/agent";
import { startNginx, withoutNginx } from "../../support/nginx";
import { freePorts } from "../../support/ports";
import { until } from "../../support/until";
import { REPOSITORY, Workspace } from "../support/engine";

const STACK = path.join(REPOSITORY, "stacks", "webapp");
/** The edge's, 20 of the pool's range and the broker's. */
const PORTS = 22;
const RESTART_CODE = 1012;
/** A client's address, which differs from nginx's own. */
const CLIENT = "127.0.0.7";

/** The example's own program, by the real engine, with a state folder, data and ports of the test's own. */
async function webapp(t: TestContext) {
  const directory = await temporaryFolder(t);
  const port = await freePorts(PORTS);
  const config = { release: "v1", port: String(port), directory, data: path.join(directory, "data") };
  const stack = await Workspace.create({
    name: "sluice",
    stack: "webapp",
    main: path.join(REPOSITORY, "stacks", "main.cjs"),
    providers: { sluice: path.join(REPOSITORY, "src", "provider") },
    config: Object.fromEntries(Object.entries(config).map(([key, value]) => [`sluice:${key}`, value])),
  });
  const client = new AgentClient(path.join(directory, "agent.sock"));
  t.after(async () => {
    client.close();
    await endEverything(directory);
    await stack.close();
  });
  const deploy = async (release: string) => {
    await stack.config("release", release);
    const { exit, stdout, stderr } = await stack.up();
    return { exit, output: stdout + stderr };
  };
  /** Of all releases that run. */
  const pids = async (name: string) =>
    ((await client.pool("web"))?.processes ?? []).filter(({ process }) => process === name).map(({ pid }) => pid);
  return { port, client, deploy, pids };
}

interface Answer {
  status: number;
  release: string;
  body: Record<string, unknown>;
}

/** A request, by HTTP or, to nginx, by HTTPS. */
function ask(at: { port: number; tls?: boolean }, options: RequestOptions = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const all = { host: "127.0.0.1", port: at.port, path: "/", agent: false as const, ...options };
    const call = at.tls === true ? httpsRequest({ rejectUnauthorized: false, ...all }) : httpRequest(all);
    call.on("error", reject);
    call.on("response", async (response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
      const text = Buffer.concat(chunks).toString("utf8");
      const json = String(response.headers["content-type"]).startsWith("application/json");
      resolve({
        status: response.statusCode ?? 0,
        release: String(response.headers["x-release"]),
        body: json ? JSON.parse(text) : { text },
      });
    });
    call.end();
  });
}

/** Sends requests one after the other until stopped; gives what was not answered by 200. */
function keepAsking(t: TestContext, at: { port: number; tls?: boolean }) {
  const agent = at.tls === true ? new TlsAgent({ keepAlive: true }) : new Agent({ keepAlive: true });
  const failures: string[] = [];
  let running = true;
  let requests = 0;
  const done = (async () => {
    for (; running; requests++) {
      await ask(at, { agent }).then(
        ({ status }) => status === 200 || failures.push(`${status}`),
        (error: Error) => failures.push(error.message),
      );
      await sleep(20);
    }
    agent.destroy();
  })();
  const stop = async () => {
    running = false;
    await done;
    return { requests, failures };
  };
  t.after(stop);
  return stop;
}

/** A WebSocket that is open, with its messages and, once it was closed, its code. */
async function live(t: TestContext, url: string, options: object = {}) {
  const socket = new WebSocket(url, options);
  t.after(() => socket.terminate());
  const seen: { messages: Record<string, unknown>[]; code?: number } = { messages: [] };
  socket.on("message", (data) => seen.messages.push(JSON.parse(data.toString())));
  socket.on("close", (code) => {
    seen.code = code;
  });
  await new Promise<void>((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("error", reject);
  });
  return { socket, seen };
}

test("the web app of stacks/webapp is deployed, replaced, rolled back, and served through nginx", async (t) => {
  const { port, deploy, pids } = await webapp(t);
  const edge = { port };
  const job = async (id: unknown) => (await ask(edge, { path: `/jobs/${id}` })).body;
  const finished = async (id: unknown) => {
    const one = await job(id);
    return one.state === "done" ? one : undefined;
  };
  const put = async (seconds: number) =>
    (await ask(edge, { method: "POST", path: `/jobs?seconds=${seconds}` })).body.id;
  const reach = async (release: string) => {
    const { exit, output } = await deploy(release);
    assert.equal(exit, 0, output);
    assert.equal((await ask(edge)).release, release);
  };

  await t.test("a first release comes up, and its workers do jobs", async () => {
    await reach("v1");
    const id = await put(0.1);
    const done = await until("the job is done", () => finished(id));
    assert.match(String(done.by), /^v1 worker#[01]$/);
    await until("the coordinator's job", async () => Number((await ask(edge, { path: "/jobs" })).body.put) > 1);
  });

  await t.test("a second one takes over: no request fails, work in flight is finished, the broker stays", async (t) => {
    const [broker, workers] = [await pids("broker"), await pids("worker")];
    const stop = keepAsking(t, edge);
    const { seen, socket } = await live(t, `ws://127.0.0.1:${port}/live`);
    socket.send("hello");
    await until("an echo", () => seen.messages.some(({ echo, release }) => echo === "hello" && release === "v1"));
    const long = await put(20);
    await until("a worker has it", async () => (await job(long)).state === "leased");
    await reach("v2");
    assert.deepEqual(await pids("broker"), broker);
    assert.equal(await until("the WebSocket was asked to connect again", () => seen.code), RESTART_CODE);
    const again = await live(t, `ws://127.0.0.1:${port}/live`);
    again.socket.send("again");
    await until("an echo", () => again.seen.messages.some(({ echo, release }) => echo === "again" && release === "v2"));
    again.socket.close();
    const fresh = await put(0.1);
    assert.match(String((await until("a new job", async () => await finished(fresh))).by), /^v2 worker#[01]$/);
    assert.match(String((await until("the long job", async () => await finished(long))).by), /^v1 worker#[01]$/);
    await until("the old workers have left", async () => {
      const now = await pids("worker");
      return now.length === 2 && now.every((pid) => !workers.includes(pid));
    });
    const { requests, failures } = await stop();
    assert.deepEqual(failures, []);
    assert.ok(requests > 10, `${requests} requests`);
    assert.equal((await pids("coordinator")).length, 1);
  });
  await t.test("a release that is never healthy changes nothing, and the one before is a promotion away", async () => {
    const before = await until("the two replicas", async () => {
      const now = await pids("web");
      return now.length === 2 ? now : undefined;
    });
    const { exit, output } = await deploy("v3");
    assert.notEqual(exit, 0);
    assert.match(output, /not healthy within 10 seconds/);
    assert.equal((await ask(edge)).release, "v2");
    await until("only the web replicas of before", async () => {
      const now = await pids("web");
      return now.length === before.length && now.every((pid) => before.includes(pid));
    });
    await reach("v1");
  });

  await t.test("nginx in front, as the runbook has it", { skip: withoutNginx }, async (t) => {
    const runbook = /```nginx\n([\s\S]*?)```/.exec(readFileSync(path.join(STACK, "README.md"), "utf8"))?.[1] ?? "";
    // A minute of patience is too long for a test: what stands for more than a client's silence is made short.
    const config = runbook
      .replace("127.0.0.1:18300", `127.0.0.1:${port}`)
      .replace("proxy_read_timeout 60s", "proxy_read_timeout 2s");
    assert.equal(config.match(/proxy_read_timeout 2s/g)?.length, 1);
    const nginx = await startNginx(t, config);
    const front = { port: nginx.port, tls: true };

    await t.test("the app knows its client, whatever that claims", async () => {
      const claims = { "x-forwarded-for": "6.6.6.6", "x-forwarded-proto": "gopher", "x-request-id": "mine" };
      const { status, body } = await ask(front, { localAddress: CLIENT, headers: claims });
      assert.equal(status, 200);
      const { client, scheme, requestId } = body;
      assert.deepEqual({ client, scheme }, { client: CLIENT, scheme: "https" });
      assert.match(String(requestId), /^[0-9a-f]{32}$/);
    });

    await t.test("a release is replaced behind it: no request fails, and WebSockets connect again", async (t) => {
      const stop = keepAsking(t, front);
      const url = `wss://127.0.0.1:${nginx.port}/live`;
      const { seen } = await live(t, url, { rejectUnauthorized: false });
      await reach("v2");
      assert.equal(await until("the WebSocket was asked to connect again", () => seen.code), RESTART_CODE);
      const { failures } = await stop();
      assert.deepEqual(failures, [], nginx.log());
    });

    await t.test("it gives up on an answer before the edge does, and keeps silent WebSockets", async (t) => {
      const { socket, seen } = await live(t, `wss://127.0.0.1:${nginx.port}/live`, { rejectUnauthorized: false });
      const [broker] = await pids("broker");
      assert.ok(broker);
      process.kill(broker, "SIGSTOP");
      try {
        // Nothing is pushed while the broker hangs.
        const { status } = await ask(front, { path: "/jobs" });
        assert.equal(status, 504, nginx.log());
        await sleep(2500);
      } finally {
        process.kill(broker, "SIGCONT");
      }
      assert.equal(seen.code, undefined);
      socket.send("still here");
      await until("an echo", () => seen.messages.some(({ echo }) => echo === "still here"));
      socket.close();
      assert.equal((await ask(front, { path: "/jobs" })).status, 200);
    });
  });
});
