import { setTimeout as sleep } from "node:timers/promises";
import type { AgentClient } from "../../src/agent/client/client";
import type { RouteInput } from "../../src/model/route/route";
import { startTestAgent, type TestAgent } from "../../test/support/agent";
import { freePortList } from "../../test/support/ports";
import { until } from "../../test/support/until";
import { change } from "../support/change";
import type { Options } from "../support/options";
import { start } from "../support/processes";
import { type Findings, ratioTarget, type Target } from "../support/report";
import type { Scope } from "../support/scope";
import { median, rounded } from "../support/statistics";
import { prepareWrk, type WrkResult, wrk } from "../support/wrk";

const ROUNDS = 5;
const NEVER_MS = 3_600_000;
const SLOW_MS = 100;
/** Before each mode, for the mirror's process to be compiled as one is that has run for a while. */
const WARM_SECONDS = 1;

const PACED = `${__dirname}/paced.lua`;

interface LoadOptions {
  path: string;
  connections: number;
  seconds: number;
  /** One of wrk's. @default as fast as answers come */
  script?: string;
}

type Load = "usual" | "at once" | "full";

/** Load on both edges in turns. */
const LOADS: Record<Load, LoadOptions> = {
  /** About 3,000 requests per second, in two cores' reach, to a server that takes 5 to 15 ms. */
  usual: { path: "/", connections: 96, seconds: 2, script: PACED },
  /** As many, to a server that answers at once: a tenth of its p99 is less than one turn of any other process takes. */
  "at once": { path: "/at-once", connections: 64, seconds: 1, script: PACED },
  /** As many as the machine can do, likewise. */
  full: { path: "/at-once", connections: 32, seconds: 1 },
};
type Side = "mirrored" | "plain";

interface Mode {
  name: string;
  /** Backend of the copies, and the share that is copied. */
  mirror?: { to: string; share: `${number}%` };
  /** Breaks something; the function that it returns repairs it. */
  breaks?: (agent: TestAgent) => Promise<() => void>;
}

const KILLED = "a killed agent";
/** Time for which nothing more is counted, when all is. */
const SETTLE_MS = 600;

const MODES: Mode[] = [
  // Two equal edges, to show by how much they differ.
  { name: "no mirror at all" },
  { name: "a good shadow", mirror: { to: "good", share: "10%" } },
  { name: "a dead shadow", mirror: { to: "dead", share: "10%" } },
  { name: "a slow shadow", mirror: { to: "slow", share: "10%" } },
  { name: "a shadow that never answers", mirror: { to: "silent", share: "10%" } },
  { name: "a shadow with too much to do", mirror: { to: "slow", share: "100%" } },
  { name: "a stopped agent", mirror: { to: "good", share: "10%" }, breaks: stopped },
  { name: KILLED, mirror: { to: "good", share: "10%" }, breaks: killed },
];

/**
 * Measures the cost of a mirror for real requests: their p99 at a steady pace, and the requests per second at full
 * load, of an edge with a mirror beside one without, in turns; with a good shadow, and with everything that can go
 * wrong with one.
 */
export async function mirror({ quick, scope, say }: Options): Promise<Findings> {
  await prepareWrk(say);
  const { agent, ports } = await prepare(scope);
  const { client } = agent;
  const rounds = quick ? 1 : ROUNDS;
  const samples: Record<string, WrkResult[]> = {};
  const notes: string[] = [];
  const summary: Findings["summary"] = {};
  const targets: Findings["targets"] = [];
  for (const { name, mirror, breaks } of MODES) {
    await setRoute(client, "mirrored", mirror === undefined ? {} : { mirror });
    for (const side of ["mirrored", "plain"] as const)
      await load(ports[side], { ...LOADS.full, seconds: WARM_SECONDS });
    const before = await figuresOf(client);
    const repair = await breaks?.(agent);
    const taken = await inTurns(ports, { rounds, quick });
    repair?.();
    for (const [what, sides] of Object.entries(taken))
      for (const [side, results] of Object.entries(sides)) samples[`${name}, ${what}, ${side}`] = results;
    summary[name] = shownOf(taken);
    const ratio = (what: Load, figure: keyof WrkResult, limit: { atMost: number } | { atLeast: number }) => {
      const { mirrored, plain } = taken[what];
      const of = (results: WrkResult[]) => results.map((result) => result[figure]);
      return ratioTarget(`p99 with ${name}, of that without a mirror`, of(mirrored), of(plain), limit);
    };
    const usual = ratio("usual", "p99Ms", { atMost: 1.1 });
    if (mirror === undefined) notes.push(`two edges without a mirror: p99 differs by a factor of ${usual.measured}`);
    else targets.push(usual);
    const rest = {
      "at once": ratio("at once", "p99Ms", { atMost: 1.1 }),
      full: ratio("full", "requestsPerSecond", { atLeast: 0.9 }),
    };
    notes.push(
      `${name}: of that without, p99 of answers at once ${told(rest["at once"])}, requests/s at full load ${told(rest.full)}`,
    );
    if (name === KILLED) notes.push(`${name}: nobody is there to count its copies`);
    else if (mirror !== undefined) notes.push(`${name}: ${JSON.stringify(await countedSince(client, before))}`);
    say(`${name}: ${JSON.stringify(summary[name])}`);
  }
  const errors = Object.values(samples)
    .flat()
    .reduce((sum, one) => sum + one.errors, 0);
  return {
    parameters: { rounds, loads: LOADS },
    samples,
    summary,
    targets,
    failures: errors === 0 ? [] : [`${errors} requests failed`],
    notes: [
      "servers, shadows, mirror and load share the machine with the edges: where they all need a core at once, a real request waits for one",
      ...notes,
    ],
  };
}

/** Two edges that are the same, with the servers and shadows that they have. */
async function prepare(scope: Scope): Promise<{ agent: TestAgent; ports: Record<Side, number> }> {
  const [server = 0, good = 0, dead = 0, silent = 0, slow = 0, mirrored = 0, plain = 0] = await freePortList(7);
  for (const port of [server, good]) {
    const environment = { PORT: String(port), SCRIPT: `${__dirname}/backend.lua` };
    start(scope, ["haproxy", "-db", "-f", `${__dirname}/backend.cfg`], environment);
  }
  for (const [port, ms] of [
    [silent, NEVER_MS],
    [slow, SLOW_MS],
  ])
    start(scope, ["node", `${__dirname}/shadow.mjs`, String(port), String(ms)]);
  const agent = await startTestAgent(scope);
  const { client } = agent;
  const ports = { mirrored, plain };
  const backends = { web: server, good, dead, silent, slow };
  for (const [edge, port] of Object.entries(ports)) {
    const spec = { frontends: { http: { binds: [{ port }], defaultBackend: "web" } } };
    await change(client, `edge/${edge}`, { verb: "edge.set", edge, spec });
    for (const [backend, to] of Object.entries(backends)) {
      const servers = { one: { address: "127.0.0.1", port: to } };
      await change(client, `backend/${edge}/${backend}`, { verb: "backend.set", edge, backend, spec: { servers } });
    }
    await setRoute(client, edge, {});
    for (const { path } of Object.values(LOADS))
      await until(`edge ${edge}`, async () => (await fetch(`http://127.0.0.1:${port}${path}`)).ok);
  }
  return { agent, ports };
}

type Taken = Record<Load, Record<Side, WrkResult[]>>;

async function inTurns(
  ports: Record<Side, number>,
  { rounds, quick }: { rounds: number; quick: boolean },
): Promise<Taken> {
  const none = () => ({ mirrored: [], plain: [] });
  const taken: Taken = { usual: none(), "at once": none(), full: none() };
  for (let round = 0; round < rounds; round++)
    for (const [what, options] of Object.entries(LOADS) as [Load, LoadOptions][])
      for (const side of round % 2 === 0 ? (["mirrored", "plain"] as const) : (["plain", "mirrored"] as const))
        taken[what][side].push(await load(ports[side], quick ? { ...options, seconds: 1 } : options));
  return taken;
}

function load(port: number, { path, ...options }: LoadOptions): Promise<WrkResult> {
  return wrk(`http://127.0.0.1:${port}${path}`, options);
}

function shownOf(taken: Taken): Record<string, number> {
  const middle = (results: WrkResult[], figure: keyof WrkResult) => rounded(median(results.map((one) => one[figure])));
  return {
    "requests/s": Math.round(middle(taken.usual.mirrored, "requestsPerSecond")),
    "p99 ms": middle(taken.usual.mirrored, "p99Ms"),
    without: middle(taken.usual.plain, "p99Ms"),
    "at once: p99 ms": middle(taken["at once"].mirrored, "p99Ms"),
    "without ": middle(taken["at once"].plain, "p99Ms"),
    "full: requests/s": Math.round(middle(taken.full.mirrored, "requestsPerSecond")),
    "without  ": Math.round(middle(taken.full.plain, "requestsPerSecond")),
  };
}

function told({ measured, rounds = [] }: Target): string {
  return `${measured} (${Math.min(...rounds)} to ${Math.max(...rounds)})`;
}

/** Counts of the copies since then, once no more are counted. */
async function countedSince(client: AgentClient, before: Record<string, number>): Promise<Record<string, number>> {
  const after = await until("the last copies to be counted", async () => {
    const [one, other] = [await figuresOf(client), await sleep(SETTLE_MS).then(() => figuresOf(client))];
    return JSON.stringify(one) === JSON.stringify(other) ? one : undefined;
  });
  const more = Object.entries(after).map(([what, count]): [string, number] => [what, count - (before[what] ?? 0)]);
  return Object.fromEntries(more.filter(([, count]) => count !== 0));
}

/** Counts of the copies so far: those that came, that were answered, and that were dropped by reason. */
async function figuresOf(client: AgentClient): Promise<Record<string, number>> {
  const { received = 0, answered = 0, dropped = {} } = (await client.mirror()).routes.mirrored ?? {};
  return { received, answered, ...dropped };
}

async function setRoute(client: AgentClient, edge: string, more: Partial<RouteInput>): Promise<void> {
  const spec = { edges: [edge], stable: "web", split: 0, ...more };
  await change(client, `route/${edge}`, { verb: "route.set", route: edge, spec });
}

async function stopped({ about, client }: TestAgent): Promise<() => void> {
  const { pid } = await client.mirror();
  const all = [about.pid, ...(pid === null ? [] : [pid])];
  for (const one of all) process.kill(one, "SIGSTOP");
  return () => {
    for (const one of all) process.kill(one, "SIGCONT");
  };
}

/** Without its guard, so that nobody starts it again. */
async function killed({ about, guard }: TestAgent): Promise<() => void> {
  for (const one of [guard, about.pid]) process.kill(one, "SIGKILL");
  return () => undefined;
}
