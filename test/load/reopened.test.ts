import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import test, { type TestContext } from "node:test";
import { findHaproxy } from "../../src/agent/haproxy/config/version";
import { ask } from "../../src/agent/haproxy/runtime/runtime-api";
import { temporaryFolder } from "../support/agent";
import { freePorts, isFree } from "../support/ports";
import { until } from "../support/until";
import { startLoad } from "./load";
import { startTarget } from "./target";

const MIX = { rate: 100, connections: 6, slow: 0, websockets: 0, streams: 0 };
/** Longer than HAProxy keeps an idle connection here. */
const STALL_MS = 1000;

/** A HAProxy of its own in front of a target; what it has logged and counted tells what became of each request. */
async function edge(t: TestContext, rules: string[] = []) {
  const folder = await temporaryFolder(t);
  const target = await startTarget();
  t.after(() => target.close());
  const port = await freePorts(1);
  const socket = join(folder, "s");
  const config = [
    "global",
    `  stats socket ${socket} mode 600 level admin`,
    "  log stdout format raw local0",
    "defaults",
    "  mode http",
    "  timeout connect 60s",
    "  timeout client 60s",
    "  timeout server 60s",
    "  timeout http-keep-alive 600ms",
    "frontend http",
    `  bind 127.0.0.1:${port}`,
    "  log global",
    "  http-request capture req.hdr(x-load-request) len 20",
    '  log-format "%[capture.req.hdr(0)] %ST"',
    ...rules.map((rule) => `  ${rule}`),
    "  default_backend target",
    "backend target",
    `  server target 127.0.0.1:${target.port}`,
    "",
  ];
  await writeFile(join(folder, "haproxy.cfg"), config.join("\n"));
  const haproxy = spawn(findHaproxy(), ["-db", "-f", join(folder, "haproxy.cfg")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise((resolve) => haproxy.once("close", resolve));
  t.after(() => {
    haproxy.kill("SIGKILL");
    return ended;
  });
  /** By the number of each request: the status of its answer, -1 without one. */
  const logged = new Map<number, number>();
  createInterface({ input: haproxy.stdout }).on("line", (line) => {
    const [number, status] = line.split(" ").map(Number);
    if (number !== undefined && number > 0) logged.set(number, status ?? 0);
  });
  await until("HAProxy to listen", async () => !(await isFree(port)));
  const taken = async () => {
    const [head = "", ...rows] = (await ask(socket, "show stat")).split("\n");
    const row = rows.find((line) => line.startsWith("http,FRONTEND,"))?.split(",");
    return Number(row?.[head.split(",").indexOf("req_tot")]);
  };
  return { port, logged, taken };
}

/** Keeps this process, and with it the load, from doing anything. */
function stall(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, STALL_MS);
}

test("what a client loses with idle connections that end while it stalls, the edge has never seen", async (t) => {
  const { port, logged, taken } = await edge(t);
  const load = startLoad({ host: "127.0.0.1", port, mix: MIX });
  t.after(() => load.stop());
  for (let stalls = 1; stalls <= 5; stalls++) {
    await until("requests between stalls", () => load.snapshot().requests >= stalls * 30);
    stall();
  }
  const { requests, sent, reopened, connections, failures } = await load.stop();
  assert.deepEqual(failures, []);
  assert.ok(connections > 2 * MIX.connections, `no connection ended in a stall: ${connections} were opened`);
  assert.equal(sent, requests + reopened);
  await until("the edge's log", () => logged.size >= sent - reopened);
  assert.equal(await taken(), sent - reopened);
  assert.deepEqual(
    [...logged].filter(([, status]) => status !== 200),
    [],
  );
});

test("a request that the edge has taken and not answered has failed, although its connection was used before", async (t) => {
  const { port, logged, taken } = await edge(t, ["http-request reject if { req.hdr(x-load-request) -m end 7 }"]);
  const load = startLoad({ host: "127.0.0.1", port, mix: MIX });
  t.after(() => load.stop());
  await until("requests", () => load.snapshot().requests >= 100);
  const { failed, reopened, sent, failures } = await load.stop();
  await until("the edge's log", () => logged.size >= sent - reopened);
  const lost = [...logged].filter(([, status]) => status !== 200);
  assert.ok(lost.length >= 10 && lost.every(([number]) => number % 10 === 7), JSON.stringify(lost));
  assert.deepEqual({ failed, reopened }, { failed: lost.length, reopened: 0 });
  assert.match(failures[0]?.error ?? "", /socket hang up/);
  assert.equal(await taken(), sent);
});
