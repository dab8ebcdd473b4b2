import { join } from "node:path";
import type { AgentClient } from "../../src/agent/client/client";
import { startTestAgent, temporaryFolder } from "../../test/support/agent";
import { freePortList } from "../../test/support/ports";
import { change } from "../support/change";
import type { Options } from "../support/options";
import { answers, start } from "../support/processes";
import { type Findings, ratioTarget } from "../support/report";
import { median, rounded } from "../support/statistics";
import { prepareWrk, type WrkResult, wrk } from "../support/wrk";

const CONNECTIONS = 32;
const ROUNDS = 8;
const SECONDS = 3;

/**
 * Requests per second and p99 through an edge with default settings, against a hand-written HAProxy with the same
 * features, a minimal one, and a reverse proxy in Node.js; all in front of the same server.
 */
export async function dataplane({ quick, scope, say }: Options): Promise<Findings> {
  await prepareWrk(say);
  const [upstream = 0, edge = 0, hand = 0, minimal = 0, node = 0, kept = 0] = await freePortList(6);
  const folder = await temporaryFolder(scope);
  const environment = (port: number) => ({ UPSTREAM: String(upstream), PORT: String(port), FOLDER: folder });
  const configFile = (name: string) => join(__dirname, `${name}.cfg`);
  const peers = [
    start(scope, ["haproxy", "-db", "-f", configFile("../support/upstream")], environment(upstream)),
    start(scope, ["haproxy", "-W", "-f", configFile("same-features")], environment(hand)),
    start(scope, ["haproxy", "-f", configFile("minimal"), "-db"], environment(minimal)),
    start(scope, [process.execPath, join(__dirname, "node-proxy.mjs")], environment(node)),
    start(scope, [process.execPath, join(__dirname, "node-proxy.mjs")], { ...environment(kept), KEEP_ALIVE: "1" }),
  ];
  const { client } = await startTestAgent(scope);
  await declareEdge(client, edge, upstream);

  const sides = {
    sluice: edge,
    "same features": hand,
    minimal,
    "http-proxy": node,
    "http-proxy keep-alive": kept,
  } as const;
  type Side = keyof typeof sides;
  for (const [name, port] of Object.entries(sides))
    await answers(`http://127.0.0.1:${port}/`, name, () => peers.map(({ errors }) => errors()).join(""));

  const samples = Object.fromEntries(Object.keys(sides).map((side) => [side, []])) as unknown as Record<
    Side,
    WrkResult[]
  >;
  const [rounds, seconds] = quick ? [1, 1] : [ROUNDS, SECONDS];
  const order = Object.keys(sides) as Side[];
  for (const side of order) await wrk(`http://127.0.0.1:${sides[side]}/`, { connections: CONNECTIONS, seconds: 1 });
  for (let round = 0; round < rounds; round++) {
    // Each round begins with another one, so that none always comes after the same.
    for (const side of [...order.slice(round % order.length), ...order.slice(0, round % order.length)]) {
      samples[side].push(await wrk(`http://127.0.0.1:${sides[side]}/`, { connections: CONNECTIONS, seconds }));
    }
    const latest = order.map((side) => `${side} ${Math.round(samples[side].at(-1)?.requestsPerSecond ?? 0)}`);
    say(`round ${round + 1} of ${rounds}, requests/s: ${latest.join(", ")}`);
  }

  const summary = Object.fromEntries(
    order.map((side) => [
      side,
      {
        "requests/s": Math.round(median(samples[side].map(({ requestsPerSecond }) => requestsPerSecond))),
        "p50 ms": rounded(median(samples[side].map(({ p50Ms }) => p50Ms))),
        "p99 ms": rounded(median(samples[side].map(({ p99Ms }) => p99Ms))),
        errors: samples[side].reduce((sum, { errors }) => sum + errors, 0),
      },
    ]),
  );
  const rates = (side: Side) => samples[side].map(({ requestsPerSecond }) => requestsPerSecond);
  const ratio = (what: string, other: Side, atLeast: number) =>
    ratioTarget(`requests/s / ${what}`, rates("sluice"), rates(other), { atLeast });
  const failed = samples.sluice.reduce((sum, { errors }) => sum + errors, 0);
  return {
    parameters: { connections: CONNECTIONS, rounds, seconds, load: "wrk --threads 1 --latency" },
    samples,
    summary,
    targets: [
      ratio("hand-written with the same features", "same features", 0.95),
      ratio("http-proxy", "http-proxy", 15),
    ],
    failures: failed === 0 ? [] : [`${failed} requests through the edge failed`],
    notes: (["minimal", "http-proxy keep-alive"] as const).map(
      (side) => `requests/s / ${side}: ${ratio(side, side, 0).measured}`,
    ),
  };
}

async function declareEdge(client: AgentClient, port: number, upstream: number): Promise<void> {
  const frontends = { http: { binds: [{ port }], defaultBackend: "app" } };
  const servers = { app1: { address: "127.0.0.1", port: upstream } };
  await change(client, "edge/main", { verb: "edge.set", edge: "main", spec: { frontends } });
  const spec = { servers, health: { path: "/" } };
  await change(client, "backend/main/app", { verb: "backend.set", edge: "main", backend: "app", spec });
}
