import type { BackendSpec } from "../../src/model/edge/backend";
import type { EdgeSpec } from "../../src/model/edge/edge";
import type { ChangeKind, PoolChange, RouteChange } from "../../src/model/policy/change";
import type { BackendDeclarations, PoolDeclarations, RouteDeclarations } from "../../src/model/policy/declared";
import type { Migration, MigrationFinding, MigrationsSpec, ReleaseInUse } from "../../src/model/policy/migration-set";
import type { InPlaceWatch } from "../../src/model/pool/in-place";
import type { PoolSpec } from "../../src/model/pool/pool";
import type { PoolCanary } from "../../src/model/pool/pool-share";
import type { AgentOptions } from "../../src/model/protocol/agent";
import type { DeclaredRoute } from "../../src/model/route/route";

interface OnAgent {
  agent: { directory: string; socket: string };
  name: string;
}

/** An edge on an agent. */
interface EdgeRef {
  agent: OnAgent["agent"];
  edge: string;
}

/** Checked inputs of the resources that policies judge, computed ones included. */
export interface Judged {
  Agent: AgentOptions & { directory: string };
  Edge: EdgeSpec & OnAgent;
  Backend: BackendSpec & BackendDeclarations & OnAgent & { edge: string };
  Pool: PoolSpec &
    PoolDeclarations &
    OnAgent & {
      serves?: { edges: EdgeRef[] };
      canary?: PoolCanary;
      watch: InPlaceWatch;
      change: PoolChange;
      secretNames: Record<string, string[]>;
      canarySecretNames?: Record<string, string[]>;
    };
  Route: DeclaredRoute & RouteDeclarations & OnAgent & { change: RouteChange };
  Migrations: MigrationsSpec & {
    name: string;
    pools: { pool: string }[];
    migrations: Migration[];
    findings: MigrationFinding[];
    inUse: ReleaseInUse[];
    change: { kind: ChangeKind; to: string };
  };
  /** The stack itself: it has no inputs, but comes before all others. */
  Stack: object;
}
export type Kind = keyof Judged;

const TYPES: Record<string, Kind> = {
  "sluice:index:Agent": "Agent",
  "sluice:index:Edge": "Edge",
  "sluice:index:Backend": "Backend",
  "sluice:index:Pool": "Pool",
  "sluice:index:Route": "Route",
  "sluice:index:Migrations": "Migrations",
  "pulumi:pulumi:Stack": "Stack",
};

export function kindOf(type: string): Kind | undefined {
  return TYPES[type];
}

/** A value of which any part may not be known yet. */
export type Unsure<T> = T extends readonly (infer Item)[]
  ? (Unsure<Item> | undefined)[]
  : T extends object
    ? { [Key in keyof T]?: Unsure<T[Key]> | undefined }
    : T;

/**
 * The inputs as plain values, with `undefined` for what is not known yet: the SDK's own value throws where such a part is
 * read, so that a policy could judge nothing of a resource with one unknown.
 */
export function known(value: unknown): unknown {
  if (Array.isArray(value)) return Array.from({ length: value.length }, (_, index) => known(read(value, index)));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.keys(value).map((key) => [key, known(read(value, key))]));
}

function read(holder: object, key: string | number): unknown {
  try {
    return (holder as Record<string | number, unknown>)[key];
  } catch (error) {
    // The SDK's UnknownValueError, which it does not export.
    if (error instanceof Error && "unknownTypeSentinel" in error) return undefined;
    throw error;
  }
}
