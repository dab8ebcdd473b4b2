import { emptyLine, parseLine } from "../../src/agent/meter/line";
import { Recorder } from "../../src/agent/meter/recorder";
import { quantile } from "../../src/model/gate/histogram";
import type { StepInput } from "../../src/model/protocol/transaction";
import { startTestAgent } from "../../test/support/agent";
import { freePortList } from "../../test/support/ports";
import { until } from "../../test/support/until";
import { change } from "../support/change";
import type { Options } from "../support/options";
import { cpuSeconds, start } from "../support/processes";
import { type Findings, ratioTarget } from "../support/report";
import { median, percentile, rounded } from "../support/statistics";
import { prepareWrk, type WrkResult, wrk } from "../support/wrk";

const LINES = 3_000_000;
const CONNECTIONS = 32;
const ROUNDS = 6;
const SECONDS = 3;
const MIB = 1024 * 1024;

/**
 * Measures the meter: lines per second of one core, memory and error of quantiles for millions of lines; and its cost:
 * requests per second through an edge with a meter beside one without, and the agent's CPU time.
 */
export async function meter({ quick, scope, say }: Options): Promise<Findings> {
  await prepareWrk(say);
  const taken = takeLines(quick ? 100_000 : LINES);
  say(`${Math.round(taken.perSecond)} lines per CPU-second`);

  const [upstream = 0, metered = 0, plain = 0] = await freePortList(3);
  const config = `${__dirname}/../support/upstream.cfg`;
  start(scope, ["haproxy", "-db", "-f", config], { UPSTREAM: String(upstream) });
  const { client, about } = await startTestAgent(scope);
  for (const [edge, port] of [
    ["metered", metered],
    ["plain", plain],
  ] as const) {
    const frontends = { http: { binds: [{ port }], defaultBackend: "web" } };
    const spec = { frontends, meter: edge === "metered" };
    await change(client, `edge/${edge}`, { verb: "edge.set", edge, spec });
    const servers = { s1: { address: "127.0.0.1", port: upstream } };
    const step: StepInput = { verb: "backend.set", edge, backend: "web", spec: { servers } };
    await change(client, `backend/${edge}/web`, step);
    await until(`edge ${edge}`, async () => (await fetch(`http://127.0.0.1:${port}/`)).ok);
  }
  const samples: { metered: WrkResult[]; plain: WrkResult[] } = { metered: [], plain: [] };
  const from = Date.now();
  const [rounds, seconds] = quick ? [1, 1] : [ROUNDS, SECONDS];
  let cpu = 0;
  for (let round = 0; round < rounds; round++)
    for (const side of round % 2 === 0 ? (["metered", "plain"] as const) : (["plain", "metered"] as const)) {
      const before = cpuSeconds(about.pid);
      const port = side === "metered" ? metered : plain;
      samples[side].push(await wrk(`http://127.0.0.1:${port}/`, { connections: CONNECTIONS, seconds }));
      if (side === "metered") cpu += cpuSeconds(about.pid) - before;
      say(
        `round ${round + 1} of ${rounds}: ${side} ${Math.round(samples[side].at(-1)?.requestsPerSecond ?? 0)} requests/s`,
      );
    }
  const sent = samples.metered.reduce((sum, { requests }) => sum + requests, 0);
  const answer = await until("the last second to be complete", async () => {
    const found = await client.sli({ edge: "metered", from: from - 60_000, to: Date.now() });
    return found.counts.requests + found.counts.aborted + found.lost >= sent ? found : undefined;
  }).catch(() => client.sli({ edge: "metered", from: from - 60_000, to: Date.now() }));
  const seen = answer.counts.requests + answer.counts.aborted;
  const rate = (side: WrkResult[]) => median(side.map(({ requestsPerSecond }) => requestsPerSecond));
  const rates = (side: keyof typeof samples) => samples[side].map(({ requestsPerSecond }) => requestsPerSecond);
  const p99 = (side: WrkResult[]) => median(side.map(({ p99Ms }) => p99Ms));
  const errors = [...samples.metered, ...samples.plain].reduce((sum, one) => sum + one.errors, 0);
  return {
    parameters: { lines: LINES, connections: CONNECTIONS, rounds, seconds },
    samples,
    summary: {
      metered: { "requests/s": Math.round(rate(samples.metered)), "p99 ms": p99(samples.metered) },
      plain: { "requests/s": Math.round(rate(samples.plain)), "p99 ms": p99(samples.plain) },
    },
    targets: [
      { what: "lines that one core takes", measured: Math.round(taken.perSecond), unit: "/s", atLeast: 40_000 },
      { what: "largest error of a quantile", measured: rounded(taken.error * 100), unit: "%", atMost: 1 },
      { what: "memory of the slots", measured: rounded(taken.bytes / MIB), unit: "MiB", atMost: 64 },
      ratioTarget("requests/s with the meter, of those without", rates("metered"), rates("plain"), { atLeast: 0.95 }),
      {
        what: "the agent's CPU time per 100,000 requests",
        measured: rounded((cpu / sent) * 100_000),
        unit: "s",
        atMost: 0.6,
      },
      // wrk gives up the requests that are in flight at the end of each of its turns.
      {
        what: "requests that the meter saw or told as lost, of those sent",
        measured: rounded((seen + answer.lost) / sent, 4),
        unit: "",
        atLeast: 0.9999,
      },
      {
        what: "requests that HAProxy could not tell it of",
        measured: rounded((answer.lost / sent) * 100),
        unit: "%",
        atMost: 1,
      },
    ],
    failures: errors === 0 ? [] : [`${errors} requests failed`],
    notes: [
      `${sent} requests sent, ${answer.counts.requests} counted, ${answer.counts.aborted} given up by wrk, ${answer.lost} lost`,
    ],
  };
}

/** Takes lines with latencies that have a long tail, of 20 servers, as they come from a socket: in chunks of 64 KiB. */
function takeLines(count: number): { perSecond: number; error: number; bytes: number } {
  const begin = 1_800_000_000_000;
  const recorder = new Recorder(begin, { releaseOf: () => undefined });
  const latencies = Array.from({ length: 10_007 }, (_, index) => Math.round(10 / (1 - index / 10_007)));
  const lines = latencies.map((ms, index) => `200 -- 0 0 ${ms} ${ms} 4711 main shop web web-1-${index % 20}\n`);
  const line = emptyLine();
  const parts = 30;
  // Whole rounds, so that what was fed has the quantiles of the list.
  const perPart = Math.max(1, Math.round(count / parts / latencies.length)) * latencies.length;
  let cpu = 0;
  for (let part = 0; part < parts; part++) {
    const at = begin + part * 1000;
    const chunk = Buffer.from(
      Array.from({ length: perPart }, (_, index) => `${at} ${lines[index % lines.length]}`).join(""),
    );
    const before = process.cpuUsage();
    recorder.tick(at);
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      if (parseLine(chunk, start, end, line)) recorder.record(line);
      start = end + 1;
    }
    const { user, system } = process.cpuUsage(before);
    cpu += (user + system) / 1e6;
  }
  recorder.tick(begin + parts * 1000 + 5000);
  const { head } = recorder.query({ edge: "main", from: begin, to: begin + parts * 1000 });
  const errors = [50, 90, 95, 99, 99.9].map((percent) => {
    const exact = percentile(latencies, percent);
    return Math.abs((quantile(head, percent / 100) ?? 0) - exact) / exact;
  });
  return { perSecond: (perPart * parts) / cpu, error: Math.max(...errors), bytes: recorder.bytes };
}
