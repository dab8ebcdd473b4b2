import type { Instance } from "../../../model/pool/pool-instances";
import type { Reason } from "../../../model/process/process-state";
import type { Events } from "../../events/events";
import type { ProcessManager, ProcessRecord } from "../../processes/process-manager";
import type { ProcessStates, Subject } from "./process-states";
import type { Traffic } from "./traffic";

/** Dependencies of the supervision of pools. */
export interface SupervisionContext {
  processes: ProcessManager;
  events: Events;
  processStates: ProcessStates;
  traffic: Traffic;
  edgeAddress: (pool: string) => string;
  drainMs: (pool: string) => number;
  secretEnv: (instance: Instance) => Record<string, string>;
}

/** A process that should run. */
export interface SupervisedProcess {
  instance: Instance;
  /** Time that it has to drain when it leaves, in milliseconds. */
  drainMs: number;
  /** Why it is started next. */
  reason: Reason;
  /** Whether a caller waits for it to come up, and hears of its exit. */
  starting: boolean;
  /** Whether it was started and has not been seen to come up. */
  notReady?: boolean;
  /** The wait for that, while it is under way. */
  readiness?: Promise<void> | undefined;
  /** Its next start. */
  timer?: NodeJS.Timeout | undefined;
  /** Attempts to start it, one at a time; never rejects. */
  turn: Promise<unknown>;
  /** Its restart that is under way. */
  restarting?: Promise<void> | undefined;
}

export function subjectOf({ id, pool, key, generation, release }: Instance): Subject {
  return { id, pool, key, generation, release: release.id };
}

export function exitText({ exit }: Pick<ProcessRecord, "exit">): string {
  if (exit === undefined) return "exited";
  if (exit.signal !== null) return `was ended by ${exit.signal}`;
  return exit.code === null ? `exited (${exit.reason ?? "exit code unknown"})` : `exited with code ${exit.code}`;
}

/** Waits for something, or rejects with the signal's reason, whichever comes first. */
export async function unlessAborted(signal: AbortSignal, promise: Promise<unknown>): Promise<void> {
  signal.throwIfAborted();
  let aborted: () => void = () => undefined;
  const abortion = new Promise<never>((_, reject) => {
    aborted = () => reject(signal.reason);
    signal.addEventListener("abort", aborted, { once: true });
  });
  try {
    await Promise.race([promise, abortion]);
  } finally {
    signal.removeEventListener("abort", aborted);
  }
}
