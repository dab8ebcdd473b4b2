import { formatMilliseconds } from "../types/duration";

/**
 * Result of a probe: `insufficient` if there are too few samples to tell, `unavailable` if the source is down, slow, or
 * gives no readable answer. Only `pass` is good.
 */
export type Verdict = "pass" | "fail" | "insufficient" | "unavailable";

export interface Probe {
  verdict: Verdict;
  /** Figures, or what is wrong, for people. */
  text: string;
  /** Figures for the evidence. */
  values: Record<string, number>;
}

/** Probes so far. */
export interface Watch {
  failures: number;
  unavailable: number;
}

export const NEW_WATCH: Watch = { failures: 0, unavailable: 0 };

export interface WatchLimits {
  windowMs: number;
  /** Time after which the source has enough data of the watch alone, in milliseconds. @default 0 */
  filledMs?: number;
  failureLimit: number;
  unavailableLimit: number;
}

export type Decision = { kind: "continue" } | { kind: "pass" } | { kind: "breach"; reason: string };

/**
 * Decides on the next probe or the outcome of a watch. A window ends with a pass, and with nothing else: where its last
 * probe has no verdict yet, too few samples are a breach at once, unless more of them will come by themselves. What failed or
 * was unavailable below its limit is probed on until it is decided.
 *
 * @param elapsedMs since the watch began
 */
export function nextDecision(
  watch: Watch,
  { verdict, text }: Pick<Probe, "verdict" | "text">,
  elapsedMs: number,
  { windowMs, filledMs = 0, failureLimit, unavailableLimit }: WatchLimits,
): { watch: Watch; decision: Decision } {
  const next = after(watch, verdict);
  const breach = (reason: string) => ({ watch: next, decision: { kind: "breach" as const, reason } });
  if (next.failures >= failureLimit) return breach(`failed${times(next.failures)}: ${text}`);
  if (next.unavailable >= unavailableLimit) return breach(`unavailable${times(next.unavailable)}: ${text}`);
  if (elapsedMs < windowMs) return { watch: next, decision: { kind: "continue" } };
  if (verdict === "pass") return { watch: next, decision: { kind: "pass" } };
  if (verdict === "insufficient" && elapsedMs >= filledMs) {
    const when = windowMs === 0 ? "" : ` at the end of the window of ${formatMilliseconds(windowMs)}`;
    return breach(`insufficient${when}: ${text}`);
  }
  return { watch: next, decision: { kind: "continue" } };
}

function after({ failures, unavailable }: Watch, verdict: Verdict): Watch {
  switch (verdict) {
    case "pass":
      return NEW_WATCH;
    case "fail":
      return { failures: failures + 1, unavailable: 0 };
    case "unavailable":
      return { failures, unavailable: unavailable + 1 };
    case "insufficient":
      return { failures, unavailable: 0 };
  }
}

function times(count: number): string {
  return count === 1 ? "" : ` ${count} times in a row`;
}
