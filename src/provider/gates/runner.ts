import { setMaxListeners } from "node:events";
import { asksPrometheus, type Gate, isJudgedBefore, nameOf } from "../../model/gate/gate";
import { NEW_WATCH, nextDecision, type Probe } from "../../model/gate/verdict";
import { formatMilliseconds, milliseconds } from "../../model/types/duration";
import { messageOf } from "../../model/types/errors";
import { probeCommand } from "./command";
import {
  type Clock,
  type GateContext,
  KEPT_MEASUREMENTS,
  type Measurement,
  type ProbeContext,
  probeResult,
  SYSTEM_CLOCK,
} from "./context";
import { probeHealth } from "./health";
import { probeHttp } from "./http";
import { probeMeter, probeSoak } from "./meter";
import { probeParity } from "./parity";
import { filledMsOf, probePrometheus } from "./prometheus";

/** Time between two lines of progress that say how much of the window is over, in milliseconds. */
const SHOW_MS = 1000;

/** Everything that a gate has measured. */
export interface GateRecord {
  /** Its name, with a number where another one of the same watch has that too. */
  gate: string;
  kind: Gate["kind"];
  /** The newest ones; see `record` of {@link GateContext} for all of them. */
  measurements: Measurement[];
  /** How many there were. */
  probes: number;
  outcome: "pass" | "breach" | "ended";
}

/** A gate did not pass: the change must be undone. */
export class GateBreach extends Error {
  constructor(
    readonly gate: string,
    readonly reason: string,
    readonly records: GateRecord[],
  ) {
    super(`gate ${gate}: ${reason}`);
    this.name = "GateBreach";
  }
}

/** Probes a gate once. What goes wrong meanwhile, a timeout included, is no verdict and never a pass. */
async function probe(gate: Gate, context: ProbeContext): Promise<Probe> {
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
    if (late.aborted) return probeResult("unavailable", `no answer within ${formatMilliseconds(timeoutMs)}`);
    return probeResult("unavailable", messageOf(error));
  }
}

function proberOf(gate: Gate, context: ProbeContext): Promise<Probe> {
  switch (gate.kind) {
    case "health":
      return probeHealth(context);
    case "sli":
      return asksPrometheus(gate) ? probePrometheus(gate, context) : probeMeter(gate, context);
    case "http":
      return probeHttp(gate, context);
    case "command":
      return probeCommand(gate, context);
    case "soak":
      return probeSoak(gate, context);
    case "parity":
      return probeParity(gate, context);
  }
}

/**
 * Watches all gates at the same time, each at its interval through its window. Resolves once all passed and the window is
 * over, with what they saw; rejects with a {@link GateBreach} at the first that did not pass.
 */
export async function watchGates(gates: readonly Gate[], context: GateContext): Promise<GateRecord[]> {
  const clock = context.clock ?? SYSTEM_CLOCK;
  const rest = new AbortController();
  const signal = AbortSignal.any([context.signal, rest.signal]);
  // Each gate listens to it: more than ten are no leak.
  setMaxListeners(0, signal);
  signal.throwIfAborted();
  const names = namesOf(gates);
  const records = gates.map(
    ({ kind }, index): GateRecord => ({
      gate: names[index] ?? kind,
      kind,
      measurements: [],
      probes: 0,
      outcome: "ended",
    }),
  );
  const startedAt = clock.now();
  const show = () => {
    const past = Math.min(clock.now() - startedAt, context.windowMs);
    const span = context.windowMs === 0 ? "" : ` ${formatMilliseconds(past)}/${formatMilliseconds(context.windowMs)}`;
    const texts =
      gates.length === 0 ? ["no gates"] : records.map(({ measurements }) => measurements.at(-1)?.text ?? "");
    context.progress([`${context.title}: watching${span}`, ...texts].filter(Boolean).join("  "));
  };
  show();
  const ticker = setInterval(show, SHOW_MS);
  const watching = gates.map(async (gate, index) => {
    const record = records[index];
    if (record !== undefined) await watch(gate, record, { ...context, signal }, { clock, startedAt, show, records });
  });
  try {
    await Promise.all(watching);
    // Gates may have shorter windows of their own.
    const left = context.windowMs - (clock.now() - startedAt);
    if (left > 0) await clock.sleep(left, signal);
    return records;
  } finally {
    clearInterval(ticker);
    rest.abort(new Error("another gate ended the watch"));
    // Let probes that still run (a command, a query) end before anything is undone.
    await Promise.allSettled(watching);
  }
}

/** Names of gates, a number behind those that several have. */
export function namesOf(gates: readonly Gate[]): string[] {
  const seen = new Map<string, number>();
  return gates.map((gate) => {
    const name = nameOf(gate);
    const count = (seen.get(name) ?? 0) + 1;
    seen.set(name, count);
    return count === 1 ? name : `${name} ${count}`;
  });
}

async function watch(
  gate: Gate,
  record: GateRecord,
  context: GateContext,
  { clock, startedAt, show, records }: { clock: Clock; startedAt: number; show: () => void; records: GateRecord[] },
): Promise<void> {
  const intervalMs = milliseconds(gate.interval);
  // A soak is judged from the past, and the command or URL of no stage is asked until it passes once.
  const windowMs = isJudgedBefore(gate) ? 0 : gate.window === undefined ? context.windowMs : milliseconds(gate.window);
  const filledMs = context.judgesPast || !asksPrometheus(gate) ? 0 : filledMsOf(gate);
  const probes = 1 + Math.ceil(windowMs / intervalMs);
  let state = NEW_WATCH;
  for (;;) {
    const now = clock.now();
    const result = await probe(gate, { ...context, startedAt, now, probes });
    const measurement = { at: now, ...result };
    record.probes++;
    record.measurements.push(measurement);
    if (record.measurements.length > KEPT_MEASUREMENTS) record.measurements.shift();
    context.record?.(record.gate, measurement);
    show();
    const { failureLimit, unavailableLimit } = gate;
    const { watch: next, decision } = nextDecision(state, result, now - startedAt, {
      windowMs,
      filledMs,
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
    const elapsed = clock.now() - startedAt;
    const left = (elapsed < windowMs ? windowMs : filledMs) - elapsed;
    // The last probe is at the window's end, not an interval after it.
    await clock.sleep(left > 0 ? Math.min(intervalMs, left) : intervalMs, context.signal);
  }
}
