import type { Failure } from "./failures";
import type { Unknown } from "./values/unknown";
import type { Properties } from "./values/value";

/** Log of a handler: it shows under its resource in the CLI; secrets are masked on the way. */
export interface Log {
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
  /** Status on the resource's row while the operation runs, replaced by the next one; at most one per 250 ms is sent. */
  progress(message: string): void;
}

export interface Context {
  urn: string;
  name: string;
  type: string;
  /** True where nothing may change: a preview's create and update. */
  preview: boolean;
  /** Aborted by Cancel (Ctrl-C), by the death of the engine, and by the resource's timeout; `reason` is an Error that says which. */
  signal: AbortSignal;
  log: Log;
  /** Paths of the new inputs (for read and delete: of the recorded ones) whose values are secret. */
  secrets: readonly string[];
}

export interface Checked<I> {
  /** The inputs with defaults and computed ones filled in, unknowns kept. */
  inputs: I;
  failures: Failure[];
  /** Further paths to keep secret, wildcards allowed: `processes["*"].env`. What came in as a secret stays one by itself. */
  secrets?: string[];
}

/**
 * One changed property. The engine shows the old value from the recorded *outputs* at this path (from the recorded
 * *inputs* with `inputDiff`), and the new value from the new *inputs*: a path that exists in neither shows nothing.
 */
export interface DiffEntry {
  path: string;
  kind: "add" | "delete" | "update";
  /** Only a new resource can have the new value. */
  replace?: boolean;
  inputDiff?: boolean;
}

export interface Difference {
  entries: DiffEntry[];
  /** Delete the old resource before its replacement is created. */
  deleteBeforeReplace?: boolean;
  /** Top-level outputs that an update will not change, so that dependents know them in the preview. */
  stables?: string[];
}

/** A value that a preview may know in parts only, at any depth. */
type PartlyKnown<T> = Unknown | (T extends object ? { [K in keyof T]: PartlyKnown<T[K]> } : T);

/** Recorded outputs of a resource, as far as a preview knows them. */
export type Outputs<S> = { [K in keyof S]: PartlyKnown<S[K]> };

/**
 * One resource type. Values are plain JSON, secrets unwrapped; `UNKNOWN` stands in previews for what is not known yet.
 * The types of inputs and state are those of what is known, since what comes back from the engine is what Check and the
 * operations gave it: where a preview may lack a part, a handler asks for that first.
 * A thrown error fails the operation with its message and leaves the recorded state as it was, so an operation must
 * leave reality as it was, too, before it throws.
 */
export interface Resource<I extends object = Properties, S extends object = Properties> {
  /** Such as `sluice:index:Pool`. */
  type: string;
  /** `olds` are the recorded inputs, absent on create. Must not look at the outside world. */
  check(context: Context, request: { olds: I | undefined; news: Properties }): Promise<Checked<object>>;
  diff(context: Context, request: DiffRequest<I, S>): Promise<Difference>;
  /** In a preview: changes nothing, returns the outputs with `UNKNOWN` where they cannot be known; the id may be left out. */
  create(context: Context, request: { inputs: I }): Promise<{ id?: string; outputs: Outputs<S> }>;
  /** Undefined where the resource is gone. Inputs and state are empty for an import. */
  read(context: Context, request: { id: string; inputs: I; state: Partial<S> }): Promise<Observed<I, S> | undefined>;
  update(context: Context, request: UpdateRequest<I, S>): Promise<Outputs<S>>;
  /**
   * Targets that a resource owns, by its inputs or state: `/srv/agent pool/web`. A delete of what the program still
   * declares (`--replace`, a taint, another logical name) leaves it alone, since the create that goes with it takes it
   * over as it runs. @default nothing, so that every delete is one
   */
  targets?(properties: I | S): string[];
  /** Cleans up after a delete that leaves all targets alone. */
  disown?(context: Context, request: { id: string; state: S }): Promise<void>;
  /** Effect of its removal, such as `stops web: 2 processes, traffic ends`: a preview says so. */
  removal?(state: S): string;
  delete(context: Context, request: DeleteRequest<I, S>): Promise<void>;
}

// biome-ignore lint/suspicious/noExplicitAny: each resource has inputs and outputs of its own, and the server only passes them on.
export type AnyResource = Resource<any, any>;

export interface DiffRequest<I, S> {
  id: string;
  /** The recorded outputs, just refreshed from reality. */
  olds: S;
  oldInputs: I;
  news: I;
  ignoreChanges: readonly string[];
}

interface UpdateRequest<I, S> {
  id: string;
  olds: S;
  oldInputs: I;
  news: I;
}

interface DeleteRequest<I, S> {
  id: string;
  state: S;
  inputs: I;
  /** 0 where the program sets none. */
  timeoutSeconds: number;
  /** Whether the program declares a target in this run, whatever logical name it has there: that one must stay. */
  declares(target: string): boolean;
}

interface Observed<I, S> {
  id: string;
  inputs: I;
  outputs: Partial<S>;
}
