import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { Agent, type IncomingMessage, request } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, type TestContext, test } from "node:test";
import WebSocket from "ws";
import { until } from "../support/until";

const DEMO = join(__dirname, "../../stacks/demo");

interface App {
  port: number;
  lines: string[];
  child: ChildProcess;
  exited: Promise<number | null>;
}

/** Starts a program of the demo app on a release; resolves when it has said that it listens or has started. */
async function startApp(t: TestContext, program: string, release: string, more: string[] = []): Promise<App> {
  const child = spawn(
    process.execPath,
    [join(DEMO, "app", program), "--release", join(DEMO, "releases", release), ...more],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  t.after(() => child.kill("SIGKILL"));
  const exited = new Promise<number | null>((resolve) => child.on("close", resolve));
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => lines.push(line));
  const ready = await until(`${program} is ready`, () => lines.find((line) => /listening on|started, pid/.test(line)));
  return { port: Number(/127\.0\.0\.1:(\d+)/.exec(ready)?.[1]), lines, child, exited };
}

function ask(app: App, path: string, options: { agent?: Agent; method?: string; body?: string } = {}) {
  return new Promise<{ response: IncomingMessage; body: Promise<string> }>((resolve, reject) => {
    const { agent, method = "GET", body } = options;
    const outgoing = request({ host: "127.0.0.1", port: app.port, path, method, agent: agent ?? false });
    outgoing.on("error", reject);
    outgoing.on("response", (response) => resolve({ response, body: response.toArray().then((all) => all.join("")) }));
    outgoing.end(body);
  });
}

describe("demo app", { concurrency: true }, () => {
  test("answers with its release's version, on every path", async (t) => {
    const app = await startApp(t, "server.mjs", "v1");
    const home = await ask(app, "/");
    assert.equal(home.response.headers["x-release"], "v1");
    assert.deepEqual(JSON.parse(await home.body), { version: "v1", pid: app.child.pid, count: 1 });
    assert.equal(await (await ask(app, "/echo", { method: "POST", body: "hello" })).body, "hello");
    assert.equal((await ask(app, "/healthz")).response.statusCode, 200);
    assert.equal((await ask(app, "/nowhere")).response.statusCode, 404);
    for (const path of ["/slow?seconds=soon", "/events?seconds=-1", "//"]) {
      assert.equal((await ask(app, path)).response.statusCode, 400, path);
    }
  });

  test("a release that is not healthy says why, to the health check and in its output", async (t) => {
    const app = await startApp(t, "server.mjs", "v3");
    const { response, body } = await ask(app, "/healthz");
    assert.equal(response.statusCode, 503);
    assert.match(JSON.parse(await body).reason, /schema is at 41/);
    await until("it is in the output", () => app.lines.some((line) => /health check fails: .*schema/.test(line)));
  });

  test("on SIGTERM it finishes all that is open, answers on idle connections, takes no new ones, and exits with 0", async (t) => {
    const app = await startApp(t, "server.mjs", "v2");
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    t.after(() => agent.destroy());
    await (await ask(app, "/", { agent })).body;
    const early = await ask(app, "/slow?seconds=1.5&head=early");
    const late = ask(app, "/slow?seconds=1.5&head=late");
    const stream = await ask(app, "/events?seconds=1.5");
    const socket = new WebSocket(`ws://127.0.0.1:${app.port}/ws`);
    const echoes: string[] = [];
    socket.on("message", (data) => echoes.push(JSON.parse(data.toString()).echo));
    await new Promise((resolve) => socket.once("open", resolve));
    app.child.kill("SIGTERM");
    await until("it is stopping", () => app.lines.some((line) => /SIGTERM: finishing/.test(line)));

    const onIdle = await ask(app, "/", { agent });
    assert.equal(onIdle.response.statusCode, 200);
    assert.equal(onIdle.response.headers.connection, "close");
    await assert.rejects(ask(app, "/"), { code: "ECONNREFUSED" });
    socket.send("still there?");
    assert.match(await early.body, /"seconds":1.5/);
    assert.match(await (await late).body, /"seconds":1.5/);
    assert.match(await stream.body, /event: done\nid: 8\n/);
    assert.deepEqual(echoes, ["still there?"]);
    assert.equal(app.child.exitCode, null);
    socket.close();
    assert.equal(await app.exited, 0);
  });

  test("what is still open when the grace is over is closed, and it exits with 0", async (t) => {
    const app = await startApp(t, "server.mjs", "v1", ["--grace", "0.3"]);
    const socket = new WebSocket(`ws://127.0.0.1:${app.port}/ws`);
    await new Promise((resolve) => socket.once("open", resolve));
    const closed = new Promise((resolve) => socket.once("close", resolve));
    app.child.kill("SIGTERM");
    assert.equal(await closed, 1001);
    assert.equal(await app.exited, 0);
  });

  test("the worker beats with its release, and exits with 0 on SIGTERM", async (t) => {
    const app = await startApp(t, "worker.mjs", "v2");
    await until("a heartbeat", () => app.lines.some((line) => /worker v2 heartbeat 1$/.test(line)));
    app.child.kill("SIGTERM");
    assert.equal(await app.exited, 0);
  });

  test("the cache keeps values, and exits with 0 on SIGTERM though clients are connected", async (t) => {
    const app = await startApp(t, "cache.mjs", "v1");
    const client = connect(app.port, "127.0.0.1");
    t.after(() => client.destroy());
    const answers: string[] = [];
    createInterface({ input: client }).on("line", (line) => answers.push(line));
    client.write("PING\nGET colour\nSET colour deep blue\nGET colour\nDELETE colour\n");
    await until("five answers", () => answers.length === 5);
    assert.deepEqual(answers.slice(0, 4), ["PONG", "NONE", "OK", "VALUE deep blue"]);
    assert.match(answers[4] ?? "", /^ERROR use:/);
    app.child.kill("SIGTERM");
    assert.equal(await app.exited, 0);
  });
});
