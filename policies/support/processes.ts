import type { Judged, Unsure } from "./judged";

type Pool = Unsure<Judged["Pool"]>;

/** Processes that a pool declares, and which of their environment variables are secret. */
export interface ProcessSet {
  /** Their path in the pool's inputs. */
  at: string;
  processes: NonNullable<Pool["processes"]>;
  secretNames: Pool["secretNames"];
}

/** All processes that a pool may run: its own, and those that its candidate has instead. */
export function processSets({ processes, secretNames, canary, canarySecretNames }: Pool): ProcessSet[] {
  const own = { at: "processes", processes: processes ?? {}, secretNames };
  if (canary?.processes === undefined) return [own];
  return [own, { at: "canary.processes", processes: canary.processes, secretNames: canarySecretNames }];
}
