import { setTimeout as sleep } from "node:timers/promises";
import type { AgentClient } from "../../agent/client/client";
import type { RouteInput } from "../../model/route";
import { startTestAgent, type TestAgent } from "../../test/support/agent";
import { until } from "../../test/support/until";
import { prepareWrk, type WrkResult, wrk } from "../dataplane/wrk";
import type { Options } from "../main";
import { change } from "../support/change";
import { freePorts, start } from "../support/processes";
import type { Findings } from "../support/report";
import { median, rounded } from "../support/statistics";

const ROUNDS = 9;
const SECONDS = 2;
const FULL_SECONDS = 1;
/** At a steady pace: about 3,000 requests per second. */
const PACED_CONNECTIONS = 64;
/** As fast as they are answered. */
const FULL_CONNECTIONS = 32;
const NEVER_MS = 3_600_000;
const SLOW_MS = 100;

interface Mode {
  name: string;
  /** Backend of the copies, and the share that is copied. */
  mirror?: { to: string; share: `${number}%` };
  /** What goes wrong; what it returns makes it good again. */
  breaks?: (agent: TestAgent) => Promise<() => void>;
}

const KILLED = "a killed agent";
/** Time for which nothing more is counted, when all is. */
const SETTLE_MS = 600;

const MODES: Mode[] = [
  // What two edges differ by that are the same.
  { name: "no mirror at all" },
  { name: "a good shadow", mirror: { to: "good", share: "10%" } },
  { name: "a dead shadow", mirror: { to: "dead", share: "10%" } },
  { name: "a shadow that never answers", mirror: { to: "silent", share: "10%" } },
  { name: "a shadow with too much to do", mirror: { to: "slow", share: "100%" } },
  { name: "a stopped agent", mirror: { to: "good", share: "10%" }, breaks: stopped },
  { name: KILLED, mirror: { to: "good", share: "10%" }, breaks: killed },
];

/**
 * What a mirror costs the real requests: their p99 at a steady pace and the requests per second at full load, of an edge with
 * a mirror beside one without, in turns; with a good shadow, and with everything that can go wrong behind it.
 */
export async function mirror({ quick, scope, say }: Options): Promise<Findings> {
  await prepareWrk(say);
  const [upstream = 0, dark = 0, dead = 0, silent = 0, slow = 0, mirrored = 0, plain = 0] = await freePorts(7);
  const config = `${__dirname}/../dataplane/upstream.cfg`;
  for (const port of [upstream, dark]) start(scope, ["haproxy", "-db", "-f", config], { UPSTREAM: String(port) });
  for (const [port, ms] of [
    [silent, NEVER_MS],
    [slow, SLOW_MS],
  ])
    start(scope, ["node", `${__dirname}/shadow.mjs`, String(port), String(ms)]);
  const agent = await startTestAgent(scope);
  const { client } = agent;
  for (const [edge, port] of Object.entries({ mirrored, plain })) {
    const spec = { frontends: { http: { binds: [{ port }], defaultBackend: "web" } } };
    await change(client, `edge/${edge}`, { verb: "edge.set", edge, spec });
    for (const [backend, to] of Object.entries({ web: upstream, good: dark, dead, silent, slow })) {
      const servers = { one: { address: "127.0.0.1", port: to } };
      await change(client, `backend/${edge}/${backend}`, { verb: "backend.set", edge, backend, spec: { servers } });
    }
    await setRoute(client, edge, {});
    await until(`edge ${edge}`, async () => (await fetch(`http://127.0.0.1:${port}/`)).ok);
  }

  const samples: Record<string, WrkResult[]> = {};
  const [rounds, seconds] = quick ? [1, 1] : [ROUNDS, SECONDS];
  const notes: string[] = [];
  const summary: Findings["summary"] = {};
  const targets: Findings["targets"] = [];
  for (const { name, mirror, breaks } of MODES) {
    await setRoute(client, "mirrored", mirror === undefined ? {} : { mirror });
    const before = await figuresOf(client);
    const mend = await breaks?.(agent);
    const measured = { paced: sides(), full: sides() };
    for (let round = 0; round < rounds; round++)
      for (const side of round % 2 === 0 ? (["mirrored", "plain"] as const) : (["plain", "mirrored"] as const)) {
        const url = `http://127.0.0.1:${side === "mirrored" ? mirrored : plain}/`;
        const script = `${__dirname}/paced.lua`;
        measured.paced[side].push(await wrk(url, { connections: PACED_CONNECTIONS, seconds, script }));
        measured.full[side].push(await wrk(url, { connections: FULL_CONNECTIONS, seconds: FULL_SECONDS }));
      }
    mend?.();
    for (const [load, { mirrored, plain }] of Object.entries(measured)) {
      samples[`${name}, ${load}, with a mirror`] = mirrored;
      samples[`${name}, ${load}, without`] = plain;
    }
    const p99 = (results: WrkResult[]) => median(results.map(({ p99Ms }) => p99Ms));
    const rate = (results: WrkResult[]) => median(results.map(({ requestsPerSecond }) => requestsPerSecond));
    const { paced, full } = measured;
    summary[name] = {
      "paced requests/s": Math.round(rate(paced.mirrored)),
      "p99 ms": rounded(p99(paced.mirrored)),
      "p99 without, ms": rounded(p99(paced.plain)),
      "full requests/s": Math.round(rate(full.mirrored)),
      "full without": Math.round(rate(full.plain)),
      "full p99 ms": rounded(p99(full.mirrored)),
      "full p99 without, ms": rounded(p99(full.plain)),
    };
    // Of turns that follow each other, since what else the machine does changes over time.
    const ratios = paced.mirrored.map(({ p99Ms }, round) => p99Ms / (paced.plain[round]?.p99Ms ?? Number.NaN));
    const ratio = rounded(median(ratios));
    if (mirror === undefined) notes.push(`p99 of two edges without a mirror differs by a factor of ${ratio}`);
    else targets.push({ what: `p99 with ${name}, of that without a mirror`, measured: ratio, unit: "", atMost: 1.1 });
    if (name === KILLED) notes.push(`${name}: nobody is there to count its copies`);
    else if (mirror !== undefined) {
      const after = await until("the last copies to be counted", async () => {
        const [one, other] = [await figuresOf(client), await sleep(SETTLE_MS).then(() => figuresOf(client))];
        return JSON.stringify(one) === JSON.stringify(other) ? one : undefined;
      });
      const more = Object.entries(after).map(([what, count]) => [what, count - (before[what] ?? 0)]);
      notes.push(`${name}: ${JSON.stringify(Object.fromEntries(more.filter(([, count]) => count !== 0)))}`);
    }
    say(`${name}: ${JSON.stringify(summary[name])}`);
  }
  const errors = Object.values(samples)
    .flat()
    .reduce((sum, one) => sum + one.errors, 0);
  return {
    parameters: { rounds, seconds, fullSeconds: FULL_SECONDS, paced: PACED_CONNECTIONS, full: FULL_CONNECTIONS },
    samples,
    summary,
    targets,
    failures: errors === 0 ? [] : [`${errors} requests failed`],
    notes: ["shadows and mirror share the machine with the edges and the load", ...notes],
  };
}

/** What became of the copies so far: those that came, that were answered, and that were dropped by reason. */
async function figuresOf(client: AgentClient): Promise<Record<string, number>> {
  const { received = 0, answered = 0, dropped = {} } = (await client.mirror()).routes.mirrored ?? {};
  return { received, answered, ...dropped };
}

function sides(): { mirrored: WrkResult[]; plain: WrkResult[] } {
  return { mirrored: [], plain: [] };
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
