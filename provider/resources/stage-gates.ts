import type { AgentClient } from "../../agent/client/client";
import { milliseconds } from "../../model/duration";
import type { RouteSpec } from "../../model/route";
import type { Stage } from "../../model/stages";
import type { Tell } from "../evidence/teller";
import { watchAndTell } from "../evidence/told-gates";
import type { GateContext } from "../gates";
import type { Log } from "../server";

/** What the gates of a stage have to know. */
export interface StageContext {
  /** The edges of what walks, each with its agent. */
  edges: { name: string; agent: AgentClient }[];
  /** Name of the route, where it is one: only its requests count then. */
  route?: string | undefined;
  /** What walks as it is while the gates are watched: its backends and split. */
  spec: Pick<RouteSpec, "stable" | "candidate" | "split">;
  /** Since when it has been as it is, in milliseconds since the epoch. @default not held at all */
  heldSince?: number | undefined;
  /** Aborted when the update is cancelled, or the agent has undone the walk by itself; `reason` says which. */
  signal: AbortSignal;
  log: Log;
  /** Told what the gates find, for the evidence. @default nobody */
  tell?: Tell | undefined;
}

/** Watches gates of a stage through its window. Resolves where all passed; rejects at a breach, with what it was. */
export type RunGates = (stage: Stage, context: StageContext) => Promise<void>;

export const runGates: RunGates = async (stage, context) => {
  const { edges, route, spec, heldSince, signal, log, tell = () => undefined } = context;
  const side = (backend: string) => ({ ...(route === undefined ? {} : { route }), backend });
  const gateContext: GateContext = {
    title: `stage ${stage.name}`,
    edges,
    // Only what has a candidate has stages to walk.
    candidate: side(spec.candidate ?? ""),
    stable: side(spec.stable),
    windowMs: milliseconds(stage.window),
    heldSince,
    signal,
    progress: (message) => log.progress(message),
  };
  await watchAndTell(stage.gates, gateContext, { stage: stage.name, tell });
};
