import type { PoolObservation } from "../../agent/api/answers";

type LastExit = NonNullable<PoolObservation["processes"][number]["lastExit"]>;

/** How a process ended: `code 3`, `SIGKILL`, or why that is not known. */
export function exitText({ code, signal, reason }: LastExit): string {
  return signal ?? (code === null ? (reason ?? "something unknown") : `code ${code}`);
}
