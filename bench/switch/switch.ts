import { setTimeout as sleep } from "node:timers/promises";
import { spawnLoad } from "../../test/load/spawn";
import type { Options } from "../support/options";
import type { Findings } from "../support/report";
import { median, percentile, rounded } from "../support/statistics";
import { byHandSide } from "./by-hand";
import type { Side } from "./side";
import { sluiceSide } from "./sluice";

const PROMOTIONS = 100;
/** The sides take turns by blocks, each with a load of its own: two loads at once would measure the machine. */
const BLOCKS = 5;
const REQUESTS_PER_SECOND = 1000;
const CONNECTIONS = 16;
/** From the beginning of a promotion to that of the next, at least, in milliseconds. */
const SPACING_MS = 500;
/** After this time no block is begun, in milliseconds. */
const GIVE_UP_MS = 170_000;

interface Switch {
  release: string;
  /** From the moment at which the new release was healthy to the head of the last answer of the old one. */
  ms: number;
  /** Time of the whole promotion, until its old release had stopped. */
  totalMs: number;
}

interface Outcome {
  switches: Switch[];
  requests: number;
  failed: number;
  reopened: number;
  samples: string[];
}

/**
 * Promotions under load: failed requests, and the time from a healthy new release to the last request that the old one
 * served; against a script that rewrites HAProxy's config and reloads it.
 */
export async function switches({ quick, scope, say }: Options): Promise<Findings> {
  const started = performance.now();
  const [count, blocks] = quick ? [4, 2] : [PROMOTIONS, BLOCKS];
  const sides = [await sluiceSide(scope), await byHandSide(scope)];
  const outcomes = sides.map((): Outcome => ({ switches: [], requests: 0, failed: 0, reopened: 0, samples: [] }));
  await Promise.all(sides.map((side) => side.promote(releaseName(0))));
  for (let block = 0; block < blocks; block++) {
    if (performance.now() - started > GIVE_UP_MS)
      throw new Error(
        `only ${block} of ${blocks} blocks were done within ${GIVE_UP_MS / 1000} s: is the machine busy?`,
      );
    for (const [index, side] of sides.entries()) {
      const outcome = outcomes[index];
      if (outcome === undefined) continue;
      await oneBlock(side, outcome, { first: block * (count / blocks) + 1, count: count / blocks });
      const last = outcome.switches.slice(-count / blocks).map(({ ms }) => ms);
      say(
        `block ${block + 1} of ${blocks}, ${side.name}: median ${Math.round(median(last))} ms, ${outcome.failed} failed`,
      );
    }
  }
  return findings(sides, outcomes, count);
}

async function oneBlock(
  side: Side,
  outcome: Outcome,
  { first, count }: { first: number; count: number },
): Promise<void> {
  const mix = { rate: REQUESTS_PER_SECOND, connections: CONNECTIONS, postShare: 0, slow: 0, websockets: 0, streams: 0 };
  const load = await spawnLoad({ url: side.url, mix, seconds: GIVE_UP_MS / 1000 });
  const promotions: { release: string; old: string; healthyAt: number; totalMs: number }[] = [];
  try {
    for (let number = first; number < first + count; number++) {
      const begun = performance.now();
      const healthyAt = await side.promote(releaseName(number));
      const totalMs = performance.now() - begun;
      promotions.push({ release: releaseName(number), old: releaseName(number - 1), healthyAt, totalMs });
      await sleep(Math.max(0, SPACING_MS - totalMs));
    }
  } finally {
    const { lastSeen, requests, failed, reopened, failures } = await load.stop();
    for (const { release, old, healthyAt, totalMs } of promotions) {
      // An old release that served nothing after the new one was healthy was left at once.
      const ms = Math.max(0, (lastSeen[old] ?? healthyAt) - healthyAt);
      outcome.switches.push({ release, ms, totalMs: Math.round(totalMs) });
    }
    outcome.requests += requests;
    outcome.failed += failed;
    outcome.reopened += reopened;
    outcome.samples.push(...failures.map(({ time, error }) => `${time} ${error}`));
  }
}

/** Names that sort and differ, so that the load's report tells the releases apart. */
function releaseName(number: number): string {
  return `r${String(number).padStart(3, "0")}`;
}

function findings(sides: Side[], outcomes: Outcome[], count: number): Findings {
  const summary = Object.fromEntries(
    sides.map(({ name }, index) => {
      const { switches = [], requests = 0, failed = 0, reopened = 0 } = outcomes[index] ?? {};
      const times = switches.map(({ ms }) => ms);
      const figures = {
        promotions: switches.length,
        requests,
        failed,
        reopened,
        "median ms": median(times),
        "p99 ms": percentile(times, 99),
        "max ms": Math.max(...times),
        "whole promotion ms": Math.round(median(switches.map(({ totalMs }) => totalMs))),
      };
      return [name, figures];
    }),
  );
  const [own, hand] = outcomes;
  const times = own?.switches.map(({ ms }) => ms) ?? [];
  const handTimes = hand?.switches.map(({ ms }) => ms) ?? [];
  const failed = own?.failed ?? 0;
  return {
    parameters: { promotions: count, requestsPerSecond: REQUESTS_PER_SECOND, connections: CONNECTIONS },
    samples: Object.fromEntries(sides.map(({ name }, index) => [name, outcomes[index]?.switches ?? []])),
    summary,
    targets: [
      { what: `failed requests in ${count} promotions`, measured: failed, unit: "", atMost: 0 },
      {
        what: "p99 from healthy to the old release's last request",
        measured: percentile(times, 99),
        unit: "ms",
        atMost: 100,
      },
    ],
    failures: failed === 0 ? [] : [`${failed} requests failed, such as: ${own?.samples.slice(0, 3).join("; ")}`],
    notes: [
      `median, Sluice / by hand: ${rounded(median(times) / median(handTimes))}; p99: ${rounded(percentile(times, 99) / percentile(handTimes, 99))}`,
      "the time counts from the agent's own event, or from the script's own look; both ask each 25 ms",
      "a whole promotion ends when the old release has stopped; by hand it has 500 ms for that",
    ],
  };
}
