import { formatMilliseconds, milliseconds } from "../../model/duration";
import { type Gate, nameOf } from "../../model/gate";
import { decide, NEW_WATCH, type Probe, type Verdict } from "../../model/verdict";
import { probeCommand } from "./command";
import { type Clock, found, type GateContext, type ProbeContext, SYSTEM_CLOCK } from "./context";
import { probeHealth } from "./health";
import { probeHttp } from "./http";
import { probeMeter, probeSoak } from "./meter";
import { probePrometheus } from "./prometheus";

/** One probe, for the evidence. */
export interface Measurement {
  /** Milliseconds since the epoch. */
  at: number;
  verdict: Verdict;
  text: string;
  values: Record<string, number>;
}

/** Everything that a gate has seen. */
export interface GateRecord {
  gate: string;
  kind: Gate["kind"];
  measurements: Measurement[];
  outcome: "pass" | "breach" | "ended";
}

/** A gate did not pass: the change must be undone. */
export class GateBreach extends Error {
  constructor(
    readonly gate: string,
    reason: string,
    readonly records: GateRecord[],
  ) {
    super(`gate ${gate}: ${reason}`);
    this.name = "GateBreach";
  }
}

/** Probes a gate once. What goes wrong meanwhile, a timeout included, is no verdict and never a pass. */
export async function probe(gate: Gate, context: ProbeContext): Promise<Probe> {
  const timeoutMs = milliseconds(gate.timeout);
  const late = AbortSignal.timeout(timeoutMs);
  const signal = AbortSignal.any([context.signal, late]);
  const given = { ...context, signal };
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  try {
    return await Promise.race([proberOf(gate, given), aborted]);
  } catch (error) {
    context.signal.throwIfAborted();
    if (late.aborted) return found("unavailable", `no answer within ${formatMilliseconds(timeoutMs)}`);
    return found("unavailable", error instanceof Error ? error.message : String(error));
  }
}

function proberOf(gate: Gate, context: ProbeContext): Promise<Probe> {
  switch (gate.kind) {
    case "health":
      return probeHealth(context);
    case "sli":
      return gate.source === "meter" ? probeMeter(gate, context) : probePrometheus(gate, context);
    case "http":
      return probeHttp(gate, context);
    case "command":
      return probeCommand(gate, context);
    case "soak":
      return probeSoak(gate, context);
  }
}

/**
 * Watches all gates at the same time, each at its interval through its window. Resolves once all passed, with what they
 * saw; rejects with a {@link GateBreach} at the first that did not. Without gates, it waits for the window.
 */
export async function watchGates(gates: readonly Gate[], context: GateContext): Promise<GateRecord[]> {
  const clock = context.clock ?? SYSTEM_CLOCK;
  const rest = new AbortController();
  const signal = AbortSignal.any([context.signal, rest.signal]);
  signal.throwIfAborted();
  const records = gates.map(
    (gate): GateRecord => ({ gate: nameOf(gate), kind: gate.kind, measurements: [], outcome: "ended" }),
  );
  const startedAt = clock.now();
  const show = () => {
    const past = Math.min(clock.now() - startedAt, context.windowMs);
    const span = context.windowMs === 0 ? "" : ` ${formatMilliseconds(past)}/${formatMilliseconds(context.windowMs)}`;
    const texts = records.map(({ measurements }) => measurements.at(-1)?.text ?? "");
    context.progress([`${context.title}: watching${span}`, ...texts].filter(Boolean).join("  "));
  };
  show();
  const watching = gates.map(async (gate, index) => {
    const record = records[index];
    if (record !== undefined) await watch(gate, record, { ...context, signal }, { clock, startedAt, show, records });
  });
  if (gates.length === 0) watching.push(clock.sleep(context.windowMs, signal));
  try {
    await Promise.all(watching);
    return records;
  } finally {
    rest.abort(new Error("another gate ended the watch"));
    // What still runs (a command, a query) has ended before anything is undone.
    await Promise.allSettled(watching);
  }
}

async function watch(
  gate: Gate,
  record: GateRecord,
  context: GateContext,
  { clock, startedAt, show, records }: { clock: Clock; startedAt: number; show: () => void; records: GateRecord[] },
): Promise<void> {
  const intervalMs = milliseconds(gate.interval);
  // A soak is judged from the past, and the command or URL of no stage is asked until it passes once.
  const windowMs = gate.kind === "soak" ? 0 : gate.window === undefined ? context.windowMs : milliseconds(gate.window);
  const looks = 1 + Math.ceil(windowMs / intervalMs);
  let state = NEW_WATCH;
  for (;;) {
    const now = clock.now();
    const result = await probe(gate, { ...context, startedAt, now, looks });
    record.measurements.push({ at: now, ...result });
    show();
    const { failureLimit, unavailableLimit } = gate;
    const { watch: next, decision } = decide(state, result, now - startedAt, {
      windowMs,
      failureLimit,
      unavailableLimit,
    });
    state = next;
    if (decision.kind === "pass") {
      record.outcome = "pass";
      return;
    }
    if (decision.kind === "breach") {
      record.outcome = "breach";
      throw new GateBreach(record.gate, decision.reason, records);
    }
    const left = windowMs - (clock.now() - startedAt);
    // The last probe is at the window's end, not an interval after it.
    await clock.sleep(left > 0 ? Math.min(intervalMs, left) : intervalMs, context.signal);
  }
}
