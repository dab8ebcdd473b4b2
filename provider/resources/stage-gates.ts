import { setTimeout as sleep } from "node:timers/promises";
import type { AgentClient } from "../../agent/client/client";
import { formatMilliseconds, milliseconds } from "../../model/duration";
import type { RouteSpec } from "../../model/route";
import type { Stage } from "../../model/stages";
import type { Failure, Log } from "../server";

/** Pause between two lines of progress, in milliseconds. */
const TICK_MS = 1000;

/** What the gates of a stage have to know. */
export interface StageContext {
  /** Of the agent of the route's edges. */
  client: AgentClient;
  /** Name of the route. */
  route: string;
  /** The route as it is in this stage: its edges, backends and split. */
  spec: RouteSpec;
  /** Aborted when the update is cancelled, or the agent has undone the walk by itself; `reason` says which. */
  signal: AbortSignal;
  log: Log;
}

/** Watches a stage through its window. Resolves where all gates passed; rejects at a breach, with what it was. */
export type RunGates = (stage: Stage, context: StageContext) => Promise<void>;

/** Waits for a stage's window, for a stage without gates. */
export const soak: RunGates = async (stage, { signal, log }) => {
  const window = milliseconds(stage.window);
  const since = performance.now();
  for (;;) {
    const past = Math.min(performance.now() - since, window);
    log.progress(`stage ${stage.name}: ${formatMilliseconds(past)} of ${formatMilliseconds(window)}, no gates`);
    if (past >= window) return;
    await sleep(Math.min(TICK_MS, window - past), undefined, { signal }).catch((error: unknown) => {
      signal.throwIfAborted();
      throw error;
    });
  }
};

/** Gates that can't be run are refused: a stage must not pass for the lack of them. */
export function gateFailures(stages: readonly Stage[]): Failure[] {
  return stages.flatMap(({ gates }, index) =>
    gates.length === 0
      ? []
      : [{ property: `stages[${index}].gates`, reason: "can't be run by this version: remove them, or update Sluice" }],
  );
}
