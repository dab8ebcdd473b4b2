import { setTimeout as sleep } from "node:timers/promises";
import { commandOf } from "../../src/agent/processes/identity";
import { poolSpec } from "../../src/model/pool/pool";
import { startTestAgent, type TestAgent } from "../../test/support/agent";
import { freePorts, freeRange } from "../../test/support/ports";
import { change } from "../support/change";
import type { Options } from "../support/options";
import { cpuSeconds, exactCpuSeconds, memory } from "../support/processes";
import { type Findings, ratioTarget } from "../support/report";
import { median, rounded } from "../support/statistics";
import { startPm2 } from "./pm2";
import { unwatchedAgent } from "./unwatched";

const PROCESSES = 20;
const SECONDS = 60;
/** For what starting them has left behind to come to rest, in seconds. */
const SETTLE_SECONDS = 10;
/** In each of which both sides' CPU time is measured. */
const ROUNDS = 6;
const ROUND_SECONDS = 15;
const MIB = "MiB";

interface Sample {
  rssMiB: number;
  pssMiB: number;
}

interface Measured {
  samples: Sample[];
  /** Share of one core, in percent. */
  cpuPercent: number;
}

/** Memory and CPU of an agent that runs an edge and 20 processes and has nothing to do, beside pm2 with as many. */
export async function idle({ quick, scope, say }: Options): Promise<Findings> {
  const [seconds, settle] = quick ? [1, 0] : [SECONDS, SETTLE_SECONDS];
  const [rounds, roundSeconds] = quick ? [1, 1] : [ROUNDS, ROUND_SECONDS];
  const watched = await startTestAgent(scope);
  const unwatched = await startTestAgent(scope, { program: await unwatchedAgent(scope) });
  for (const agent of [watched, unwatched]) await occupy(agent);
  const { about, guard, processes } = watched;
  say(`the agent runs ${PROCESSES} processes, and so does one without its watch of outages`);

  const peer = quick ? "it is left out in a smoke test" : await startPm2(scope, PROCESSES);
  if (typeof peer === "string") say(`pm2 is left out: ${peer}`);
  await sleep(settle * 1000);
  const [agent, pm2] = await Promise.all([
    measure(about.pid, seconds),
    typeof peer === "string" ? undefined : measure(peer.pid, seconds),
  ]);
  const sides = [watched.about.pid, unwatched.about.pid] as const;
  const cpu: [watched: number, unwatched: number][] = [];
  for (let round = 0; round < rounds; round++) cpu.push(await cpuOf(sides, roundSeconds));
  const helpers = await helperMemory(guard, await processes());
  const own = figures(agent);
  return {
    parameters: { processes: PROCESSES, edges: 1, seconds, rounds, roundSeconds },
    samples: { sluice: agent.samples, ...(pm2 === undefined ? {} : { pm2: pm2.samples }), cpuMsPerSecond: cpu },
    summary: { sluice: own, ...(pm2 === undefined ? {} : { pm2: figures(pm2) }) },
    targets: [
      { what: "the agent's memory (RSS, largest)", measured: own["max RSS MiB"], unit: MIB, atMost: 90 },
      { what: "the agent's CPU time, of one core", measured: own["CPU %"], unit: "%", atMost: 1 },
      ratioTarget(
        "the agent's CPU time, to that of one without its watch of outages",
        cpu.map(([one]) => one),
        cpu.map(([, other]) => other),
        { atMost: 1.05 },
      ),
    ],
    failures: [],
    notes: [
      `guard and shims beside the agent: ${helpers} MiB (PSS)`,
      typeof peer === "string" ? `no peer: ${peer}` : `pm2 ${peer.version}, its daemon alone, in the same ${seconds} s`,
      `with the watch ${median(cpu.map(([one]) => one))} ms of CPU time per second, without it ${median(cpu.map(([, other]) => other))}`,
    ],
  };
}

/** CPU time of each process in the same seconds, in milliseconds per second. */
async function cpuOf(pids: readonly [number, number], seconds: number): Promise<[number, number]> {
  const [before, since] = [pids.map(exactCpuSeconds), performance.now()];
  await sleep(seconds * 1000);
  const passed = (performance.now() - since) / 1000;
  const [first = 0, second = 0] = pids.map((pid, index) =>
    rounded(((exactCpuSeconds(pid) - (before[index] ?? 0)) * 1000) / passed),
  );
  return [first, second];
}

/** Gives an agent an edge and a pool. */
async function occupy({ client }: TestAgent): Promise<void> {
  const port = await freePorts(1);
  const frontends = { http: { binds: [{ port }], defaultBackend: "web" } };
  await change(client, "edge/main", { verb: "edge.set", edge: "main", spec: { frontends } });
  const spec = poolSpec.parse({
    edge: "main",
    release: { id: "r1", path: __dirname },
    ports: await freeRange(2 * PROCESSES),
    processes: {
      web: {
        policy: "proxied",
        command: [process.execPath, "-e", SERVER, "{{port}}"],
        replicas: 2,
        health: { path: "/" },
      },
      worker: { policy: "companion", command: ["/bin/sleep", "3600"], replicas: PROCESSES - 2 },
    },
  });
  await change(
    client,
    "pool/web",
    { verb: "pool.start", pool: "web", spec },
    { verb: "pool.switch", pool: "web" },
    { verb: "pool.follow", pool: "web" },
  );
  const running = (await client.pool("web"))?.processes.filter(({ state }) => state === "running").length;
  if (running !== PROCESSES) throw new Error(`${running} of ${PROCESSES} processes run`);
  client.close();
}

const SERVER = `require("http").createServer((_, response) => response.end("ok")).listen(Number(process.argv[1]), "127.0.0.1")`;

async function measure(pid: number, seconds: number): Promise<Measured> {
  const samples: Sample[] = [];
  const [cpuBefore, started] = [cpuSeconds(pid), performance.now()];
  for (let second = 0; second < seconds; second++) {
    await sleep(1000);
    const { rss, pss } = memory(pid);
    samples.push({ rssMiB: rounded(rss), pssMiB: rounded(pss) });
  }
  const cpu = cpuSeconds(pid) - cpuBefore;
  return { samples, cpuPercent: rounded((cpu / ((performance.now() - started) / 1000)) * 100) };
}

function figures({ samples, cpuPercent }: Measured) {
  const rss = samples.map(({ rssMiB }) => rssMiB);
  return {
    "median RSS MiB": median(rss),
    "max RSS MiB": Math.max(...rss),
    "median PSS MiB": median(samples.map(({ pssMiB }) => pssMiB)),
    "CPU %": cpuPercent,
  };
}

/** Memory of what keeps the agent and its processes without being either: the guard, and a shim per process. */
async function helperMemory(guard: number, marked: readonly { pid: number }[]): Promise<number> {
  const commands = await Promise.all(marked.map(async ({ pid }) => ({ pid, command: await commandOf(pid) })));
  const shims = commands.filter(({ command }) => command.startsWith("/bin/sh -c")).map(({ pid }) => pid);
  return rounded(
    [guard, ...shims].reduce((sum, pid) => sum + memory(pid).pss, 0),
    1,
  );
}
