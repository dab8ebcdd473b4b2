import { type ExitFacts, exitFacts, type Status } from "./status";

/** A snapshot: it does not change; `get` gives the next one. */
export interface ProcessRecord {
  id: string;
  argv: string[];
  cwd: string;
  labels: Record<string, string>;
  state: "starting" | "running" | "exited";
  /** The app's. */
  pid?: number;
  /** The app's process group; its leader is the shim. */
  group?: number;
  /** The app's, in clock ticks since the host's boot. */
  startTime?: string;
  /** ISO 8601. */
  startedAt: string;
  /** Whether an earlier agent launched it. */
  adopted: boolean;
  exit?: Ending & {
    /** ISO 8601. */
    at: string;
  };
}

export interface Ending extends ExitFacts {
  /** Why code and signal are unknown, or who sent the signal. */
  reason?: string;
}

export interface ProcessEvent {
  message: string;
  data: Record<string, unknown>;
}

/** How the process has ended, if its status says so. */
export function recordedEnding({ code, end }: Status): Ending | undefined {
  if (code !== undefined) return exitFacts(code);
  return end === undefined ? undefined : { code: null, ...end };
}
