import { setTimeout as sleep } from "node:timers/promises";
import { spawnLoad } from "../../test/load/spawn";
import { until } from "../../test/support/until";
import type { Options } from "../support/options";
import type { Findings } from "../support/report";
import { median, percentile, rounded } from "../support/statistics";
import { byHandSide } from "./by-hand";
import { type Health, type Side, startHealth } from "./side";
import { sluiceSide } from "./sluice";

const ROLLBACKS = 20;
/** The sides take turns by blocks, each with a load of its own: two loads at once would measure the machine. */
const BLOCKS = 2;
const REQUESTS_PER_SECOND = 500;
const CONNECTIONS = 16;
/** For a candidate to have requests before it turns red, and for late ones after, in milliseconds. */
const SETTLE_MS = 300;
const GIVE_UP_SECONDS = 170;

interface Rollback {
  release: string;
  /** From the moment at which a probe was answered red to the head of the candidate's last answer. */
  ms: number;
  /** Until all was put back, and said so. */
  totalMs: number;
}

interface Outcome {
  rollbacks: Rollback[];
  requests: number;
  failed: number;
  samples: string[];
}

/** From a red probe to the candidate's last request, under load; against a script that rewrites the config and reloads. */
export async function rollback({ quick, scope, say }: Options): Promise<Findings> {
  const [count, blocks] = quick ? [2, 1] : [ROLLBACKS, BLOCKS];
  const health = await startHealth(scope);
  const sides = [await sluiceSide(scope, health.url), await byHandSide(scope, health.url)];
  const outcomes = sides.map((): Outcome => ({ rollbacks: [], requests: 0, failed: 0, samples: [] }));
  for (let block = 0; block < blocks; block++)
    for (const [index, side] of sides.entries()) {
      const outcome = outcomes[index];
      if (outcome === undefined) continue;
      await oneBlock(side, outcome, health, { first: block * (count / blocks), count: count / blocks });
      const last = outcome.rollbacks.slice(-count / blocks).map(({ ms }) => ms);
      say(`block ${block + 1} of ${blocks}, ${side.name}: median ${Math.round(median(last))} ms`);
    }
  return findings(sides, outcomes, count);
}

async function oneBlock(
  side: Side,
  outcome: Outcome,
  health: Health,
  { first, count }: { first: number; count: number },
): Promise<void> {
  const mix = { rate: REQUESTS_PER_SECOND, connections: CONNECTIONS, postShare: 0, slow: 0, websockets: 0, streams: 0 };
  const load = await spawnLoad({ url: side.url, mix, seconds: GIVE_UP_SECONDS });
  const seen: { release: string; redAt: number; totalMs: number }[] = [];
  try {
    for (let number = first; number < first + count; number++) {
      const release = `c${String(number).padStart(3, "0")}`;
      health.set(true);
      const { rolledBack } = await side.promote(release);
      await until(`requests of ${release}`, () => load.snapshot().byVersion[release] !== undefined);
      await sleep(SETTLE_MS);
      health.set(false);
      await rolledBack;
      const redAt = health.redAt();
      if (redAt === undefined) throw new Error(`${side.name} put ${release} back although no probe was red`);
      seen.push({ release, redAt, totalMs: Date.now() - redAt });
      await sleep(SETTLE_MS);
    }
  } finally {
    const { lastSeen, requests, failed, failures } = await load.stop();
    for (const { release, redAt, totalMs } of seen)
      outcome.rollbacks.push({ release, ms: Math.max(0, (lastSeen[release] ?? redAt) - redAt), totalMs });
    outcome.requests += requests;
    outcome.failed += failed;
    outcome.samples.push(...failures.map(({ time, error }) => `${time} ${error}`));
  }
}

function findings(sides: Side[], outcomes: Outcome[], count: number): Findings {
  const times = outcomes.map(({ rollbacks }) => rollbacks.map(({ ms }) => ms));
  const [own = [], hand = []] = times;
  const failed = outcomes[0]?.failed ?? 0;
  const summary = sides.map(({ name }, index) => {
    const { rollbacks = [], requests = 0, failed: broken = 0 } = outcomes[index] ?? {};
    const each = times[index] ?? [];
    const figures = {
      rollbacks: rollbacks.length,
      requests,
      failed: broken,
      "median ms": median(each),
      "max ms": Math.max(...each),
      "whole undo ms": Math.round(median(rollbacks.map(({ totalMs }) => totalMs))),
    };
    return [name, figures] as const;
  });
  return {
    parameters: { rollbacks: count, requestsPerSecond: REQUESTS_PER_SECOND, connections: CONNECTIONS },
    samples: Object.fromEntries(sides.map(({ name }, index) => [name, outcomes[index]?.rollbacks ?? []])),
    summary: Object.fromEntries(summary),
    targets: [
      { what: `failed requests in ${count} rollbacks`, measured: failed, unit: "", atMost: 0 },
      {
        what: "p99 from a red probe to the candidate's last request",
        measured: percentile(own, 99),
        unit: "ms",
        atMost: 200,
      },
    ],
    failures:
      failed === 0 ? [] : [`${failed} requests failed, such as: ${outcomes[0]?.samples.slice(0, 3).join("; ")}`],
    notes: [
      `median, Sluice / by hand: ${rounded(median(own) / median(hand))}`,
      "by hand, a whole undo ends when HAProxy was told to reload, whatever it still serves",
    ],
  };
}
