import { setTimeout as sleep } from "node:timers/promises";
import type { AgentClient } from "../../agent/client/client";
import { mergeAnswers, type SliAnswer, type SliSelector } from "../../model/gate/sli";
import type { Probe, Verdict } from "../../model/gate/verdict";
import { formatMilliseconds } from "../../model/types/duration";
import { safeLine, safeTexts } from "../../model/types/safe-text";

/** The requests of one side of a change. */
export type RequestSelector = Omit<SliSelector, "edge">;

/** Time, which tests replace. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export const SYSTEM_CLOCK: Clock = {
  now: Date.now,
  sleep: async (ms, signal) => {
    await sleep(ms, undefined, { signal }).catch((error: unknown) => {
      signal.throwIfAborted();
      throw error;
    });
  },
};

/** Measurements of one gate that a watch keeps, the newest ones. */
export const KEPT_MEASUREMENTS = 100;

/** One probe of a gate. */
export interface Measurement extends Probe {
  /** Milliseconds since the epoch. */
  at: number;
}

/** The change that gates watch. */
export interface GateContext {
  /** For messages, such as `stage 10 %`. */
  title: string;
  /** The edges that the change is on, each with its agent. */
  edges: { name: string; agent: Pick<AgentClient, "sli" | "edge" | "sample"> }[];
  candidate: RequestSelector;
  /** The side that the candidate is compared with. @default none: such gates have no verdict, and breach */
  stable?: RequestSelector | undefined;
  /** Time through which gates are watched that do not say, in milliseconds; 0 for one good probe. */
  windowMs: number;
  /** Since when what a soak is about has been held, in milliseconds since the epoch. @default not held */
  unchangedSince?: number | undefined;
  /** Whether nothing has been changed yet, so that samples of before the watch are what it is about. @default false */
  judgesPast?: boolean | undefined;
  /** Ends the watch from outside: the watch then rejects with its reason. */
  signal: AbortSignal;
  /** One line about how it goes, for the resource's row. */
  progress(message: string): void;
  /**
   * Told each measurement as it is made, for whoever keeps all of them: the watch itself keeps the newest
   * {@link KEPT_MEASUREMENTS} of a gate and their number, since a window of days makes any number of them. It must neither
   * throw nor take long: a watch does not wait for it.
   *
   * @param gate name that tells it from the others of this watch
   * @default nobody
   */
  record?: ((gate: string, measurement: Measurement) => void) | undefined;
  /** @default the system's */
  clock?: Clock | undefined;
}

/** Input of a gate's probe. */
export interface ProbeContext extends GateContext {
  /** When the watch began, and what time it is, in milliseconds since the epoch. */
  startedAt: number;
  now: number;
  /** Looks that the watch has in all, for tests that are repeated. */
  probes: number;
}

/** Result of a probe; whatever it heard of others is safe to show from here on. */
export function probeResult(verdict: Verdict, text: string, values: Record<string, number> = {}): Probe {
  return { verdict, text: safeLine(text), values: safeTexts(values) };
}

/** How much an agent's clock may differ from this host's, in milliseconds: less than gates wait for the meter. */
const MOST_SKEW_MS = 2000;

/** Merges the measurements of all edges' meters for a side. Rejects where one of them cannot tell. */
export async function measured(
  { edges, signal, clock = SYSTEM_CLOCK }: Pick<GateContext, "edges" | "signal" | "clock">,
  side: RequestSelector,
  window: { from: number; to: number },
): Promise<SliAnswer> {
  const [first, ...rest] = await Promise.all(
    edges.map(async ({ name, agent }) => {
      const asked = clock.now();
      const answer = await agent.sli({ edge: name, ...side, ...window }, { signal });
      assertSameTime(name, answer, { from: asked, to: clock.now() });
      return answer;
    }),
  );
  if (first === undefined) throw new Error("there is no edge whose meter could be asked");
  return mergeAnswers([first, ...rest]);
}

/** Windows are in this host's time: with another one, a gate would judge requests of before the change, or none. */
function assertSameTime(edge: string, { now }: SliAnswer, { from, to }: { from: number; to: number }): void {
  const skew = now === undefined ? 0 : now < from ? now - from : Math.max(0, now - to);
  if (Math.abs(skew) <= MOST_SKEW_MS) return;
  const how = `${formatMilliseconds(Math.abs(skew))} ${skew < 0 ? "behind" : "ahead of"}`;
  throw new Error(
    `the clock of the agent of edge ${edge} is ${how} this host's, so that its requests can't be told from earlier ones: set both by NTP`,
  );
}
