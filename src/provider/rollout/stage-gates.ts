import type { AgentClient } from "../../agent/client/client";
import type { RouteSpec } from "../../model/route/route";
import type { Stage } from "../../model/route/stages";
import { milliseconds } from "../../model/types/duration";
import type { SendNote } from "../evidence/note-sender";
import { watchAndRecord } from "../evidence/recorded-gates";
import type { GateContext } from "../gates";
import type { Log } from "../server";

/** Input of a stage's gates. */
export interface StageContext {
  /** The edges of the rollout, each with its agent. */
  edges: { name: string; agent: AgentClient }[];
  /** Name of the route, where it is one: only its requests count then. */
  route?: string | undefined;
  /** Backends and split of the subject while the gates are watched. */
  spec: Pick<RouteSpec, "stable" | "candidate" | "split">;
  /** Since when it has been as it is, in milliseconds since the epoch. @default not held at all */
  unchangedSince?: number | undefined;
  /** Aborted when the update is cancelled, or the agent has undone the rollout by itself; `reason` says which. */
  signal: AbortSignal;
  log: Log;
  /** Receives the gates' findings, for the evidence. @default nobody */
  sendNote?: SendNote | undefined;
}

/** Watches gates of a stage through its window. Resolves if all passed; rejects at a breach, with its reason. */
export type RunGates = (stage: Stage, context: StageContext) => Promise<void>;

export const runGates: RunGates = async (stage, context) => {
  const { edges, route, spec, unchangedSince, signal, log, sendNote = () => undefined } = context;
  const side = (backend: string) => ({ ...(route === undefined ? {} : { route }), backend });
  const gateContext: GateContext = {
    title: `stage ${stage.name}`,
    edges,
    // Only a route with a candidate has stages.
    candidate: side(spec.candidate ?? ""),
    stable: side(spec.stable),
    windowMs: milliseconds(stage.window),
    unchangedSince,
    signal,
    progress: (message) => log.progress(message),
  };
  await watchAndRecord(stage.gates, gateContext, { stage: stage.name, sendNote });
};
