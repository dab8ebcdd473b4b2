import { z } from "zod";
import type { PoolChange } from "../../model/policy/change";
import { poolDeclarations } from "../../model/policy/declared";
import { type InPlaceWatch, inPlaceServer, inPlaceWatch, MAX_EDGES } from "../../model/pool/in-place";
import type { PoolSpec } from "../../model/pool/pool";
import { checkedCanary, type PoolCanary } from "../../model/pool/pool-share";
import type { PoolLive } from "../../model/protocol/live";
import { absolutePath, name } from "../../model/types/names";
import type { Declared } from "../checks/ownership";
import { type Failure, isUnknown } from "../server";
import { type AgentRef, agentRef } from "./agent-ref";

/** The edges that lead to a pool which is replaced in place. */
const serves = inPlaceServer.extend({
  edges: z
    .array(z.strictObject({ agent: agentRef, edge: name }))
    .min(1)
    .max(MAX_EDGES),
});
export type Serves = z.output<typeof serves>;
export type ServesInput = z.input<typeof serves>;

/** A declaration, as the program gives it. */
export interface DeclaredPool extends PoolSpec {
  agent: AgentRef;
  name: string;
  /** Folder or .tar.gz of the deployer that becomes the release's folder on the host. */
  artifact?: string | undefined;
  /** In place only. */
  serves?: Serves | undefined;
  watch?: InPlaceWatch | undefined;
  /** Side by side only. */
  canary?: PoolCanary | undefined;
}

export interface PoolInputs extends DeclaredPool, Declared {
  /** The change, for policies: they see new inputs only. */
  change: PoolChange;
  /** Environment variables by process whose values are secret, for policies: they can't tell. */
  secretNames?: Record<string, string[]>;
  /** Likewise, of the candidate's own processes. */
  canarySecretNames?: Record<string, string[]>;
  live?: PoolLive;
}

export interface PoolState extends PoolInputs {
  live: PoolLive;
}

/** Schemas of what a pool has beside its spec. */
export const poolOwn = {
  agent: agentRef,
  name,
  artifact: absolutePath.optional(),
  serves: serves.optional(),
  watch: inPlaceWatch.optional(),
  canary: checkedCanary.optional(),
  ...poolDeclarations,
};

/** Problems of a pool's strategy beside its spec. */
export function strategyFailures({ strategy, serves: edges, watch, canary }: DeclaredPool): Failure[] {
  if (isUnknown(strategy)) return [];
  if (strategy === "in-place") {
    const declared =
      canary === undefined
        ? []
        : [{ property: "canary", reason: 'goes with strategy: "side-by-side": use watch, or a Route over two pools' }];
    return edges === undefined
      ? [
          ...declared,
          {
            property: "serves",
            reason: "is missing: name the edges, the backend and the server by which they know this pool",
          },
        ]
      : declared;
  }
  return Object.entries({ serves: edges, watch }).flatMap(([property, value]) =>
    value === undefined
      ? []
      : [{ property, reason: 'goes with strategy: "in-place": set that, or use a Route to watch a candidate' }],
  );
}
