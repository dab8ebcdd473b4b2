import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { AgentClient } from "../../src/agent/client/client";
import { startAgent } from "../../src/agent/client/launch";
import { poolSpec } from "../../src/model/pool/pool";
import { runningAgent } from "../../test/faults/support/host";
import { startTestAgent, type TestAgent } from "../../test/support/agent";
import { freePorts, freeRange } from "../../test/support/ports";
import { until } from "../../test/support/until";
import { change } from "../support/change";
import type { Options } from "../support/options";
import { cpuSeconds, end, memory } from "../support/processes";
import type { Findings } from "../support/report";
import { median, percentile, rounded } from "../support/statistics";

const POOL = "web";
/** All are `sleep`, but for two web servers: what is measured is the agent, and the machine is small. */
const WORKERS = { a: 64, b: 64, c: 64, d: 6 };
const WEB = 2;
const PROCESSES = Object.values(WORKERS).reduce((sum, count) => sum + count, WEB);
const DELAY_MS = 100;
const SETTLE_MS = 10_000;
const START_DEADLINE_MS = 60_000;
const SERVER = `require("http").createServer((_, response) => response.end("ok")).listen(Number(process.argv[1]), "127.0.0.1")`;
/** Notes by the time of an empty file when it began, which costs no process. */
const WORKER = ': >"$BORN/$SLUICE_PROCESS_ID"; exec sleep 1000000';

/** One agent with 200 processes: its memory and CPU time, and how fast it starts, restarts and adopts them. */
export async function supervise({ quick, scope, say }: Options): Promise<Findings> {
  const [seconds, crashes, adoptions] = quick ? [1, 3, 1] : [60, 100, 5];
  const born = await mkdtemp(join(tmpdir(), "sl-born-"));
  const agent = await startTestAgent(scope);
  scope.after(() => rm(born, { recursive: true, force: true }));

  const startMs = await startAll(agent.client, born);
  say(`${PROCESSES} processes run after ${Math.round(startMs)} ms`);
  await sleep(quick ? 0 : SETTLE_MS);

  const cpuBefore = cpuSeconds(agent.about.pid);
  const since = performance.now();
  await sleep(seconds * 1000);
  const cpuPercent = ((cpuSeconds(agent.about.pid) - cpuBefore) / ((performance.now() - since) / 1000)) * 100;
  const { rss, pss } = memory(agent.about.pid);
  say(`its agent has ${Math.round(rss)} MiB`);

  const restartMs: number[] = [];
  for (let crash = 0; crash < crashes; crash++) restartMs.push(await crashOne(agent.client, born, crash));
  say("crashes are measured");

  const before = await pids(agent.client);
  agent.client.close();
  const adoptionMs: number[] = [];
  for (let round = 0; round < adoptions; round++) adoptionMs.push(await adopt(agent, before));

  const restart = { median: median(restartMs), p99: percentile(restartMs, 99), max: Math.max(...restartMs) };
  return {
    parameters: { processes: PROCESSES, seconds, crashes, restartDelayMs: DELAY_MS, adoptions },
    samples: { restartMs, adoptionMs },
    summary: {
      sluice: {
        "RSS MiB": rounded(rss, 1),
        "PSS MiB": rounded(pss, 1),
        "idle CPU %": rounded(cpuPercent, 2),
        "start all ms": rounded(startMs, 0),
        "restart median ms": rounded(restart.median, 1),
        "restart p99 ms": rounded(restart.p99, 1),
        "restart max ms": rounded(restart.max, 1),
        "adoption median ms": rounded(median(adoptionMs), 0),
        "adoption max ms": rounded(Math.max(...adoptionMs), 0),
      },
    },
    targets: [
      {
        what: "from crash to restart beyond the delay (p99)",
        measured: rounded(restart.p99, 1),
        unit: "ms",
        atMost: 50,
      },
      { what: "adoption (largest)", measured: rounded(Math.max(...adoptionMs), 0), unit: "ms", atMost: 1000 },
    ],
    failures: [],
    notes: [
      `restarts: from SIGKILL until the new process's first instruction, without the delay of ${DELAY_MS} ms; file times are exact to 4 ms`,
      `adoption: from the start of a new agent, Node.js included, until it answers with all ${PROCESSES} running, none of them another one`,
      "start: all steps of a promotion with its commit, until all run",
    ],
  };
}

async function startAll(client: AgentClient, born: string): Promise<number> {
  const port = await freePorts(1);
  const frontends = { http: { binds: [{ port }], defaultBackend: POOL } };
  await change(client, "edge/main", { verb: "edge.set", edge: "main", spec: { frontends } });
  const workers = Object.entries(WORKERS).map(([name, replicas]) => [
    name,
    {
      policy: "companion",
      command: ["/bin/sh", "-c", WORKER],
      env: { BORN: born },
      replicas,
      restart: { delay: `${DELAY_MS} milliseconds`, factor: 1, jitter: 0 },
    },
  ]);
  const spec = poolSpec.parse({
    edge: "main",
    release: { id: "r1", path: __dirname },
    ports: await freeRange(2 * WEB),
    processes: {
      ...Object.fromEntries(workers),
      web: {
        policy: "proxied",
        command: [process.execPath, "-e", SERVER, "{{port}}"],
        replicas: WEB,
        health: { path: "/", interval: "20 milliseconds" },
      },
    },
  });
  const since = performance.now();
  await change(
    client,
    `pool/${POOL}`,
    { verb: "pool.start", pool: POOL, spec },
    { verb: "pool.switch", pool: POOL },
    { verb: "pool.follow", pool: POOL },
  );
  await pids(client);
  return performance.now() - since;
}

/** Process ids by key; all must run. */
async function pids(client: AgentClient): Promise<Map<string, number>> {
  const all = (await client.pool(POOL))?.processes ?? [];
  const running = all.filter(({ state }) => state === "running");
  if (running.length !== PROCESSES) throw new Error(`${running.length} of ${PROCESSES} processes run`);
  return new Map(running.map(({ key, pid }) => [key, pid ?? 0]));
}

/** Kills a worker; gives the milliseconds until the next one began, without the delay. Each crash hits another one. */
async function crashOne(client: AgentClient, born: string, crash: number): Promise<number> {
  const workers = [...(await pids(client))].filter(([key]) => !key.startsWith("web#"));
  const [key, pid] = workers[crash % workers.length] ?? ["", 0];
  const at = Date.now();
  end(pid);
  const began = await until(
    `${key} to start again`,
    async () => {
      const { mtimeMs } = await stat(join(born, key));
      return mtimeMs > at ? mtimeMs : undefined;
    },
    { deadlineMs: START_DEADLINE_MS },
  );
  await until("all to run", async () => (await pids(client)).size, { deadlineMs: START_DEADLINE_MS });
  return began - at - DELAY_MS;
}

/** Ends the agent and its guard, and starts a new one; gives the milliseconds until it answers with the same processes. */
async function adopt({ directory, socket }: TestAgent, expected: Map<string, number>): Promise<number> {
  const { agent, guard } = await runningAgent(directory);
  end(guard.pid);
  end(agent.pid);
  const since = performance.now();
  await startAgent(directory, socket, AbortSignal.timeout(START_DEADLINE_MS));
  const client = new AgentClient(socket);
  try {
    const found = await pids(client);
    const ms = performance.now() - since;
    for (const [key, pid] of expected)
      if (found.get(key) !== pid) throw new Error(`${key} is process ${found.get(key)}, no longer ${pid}`);
    return ms;
  } finally {
    client.close();
  }
}
