import type { Action, LockMode } from "./actions";
import type { Birth, Catalogue, Resolved } from "./catalogue";
import type { Name } from "./names";

export interface HeldLock {
  mode: LockMode;
  on: string;
  line: number;
}

/** What rules may know at the moment when a statement is about to run. */
export interface Scene {
  readonly catalogue: Catalogue;
  readonly searchPath: readonly string[];
  /** Tells transactions of one check apart. */
  readonly transaction: number;
  /** What the statement runs inside of, such as `the runner's transaction`; undefined where it is alone. */
  readonly block: string | undefined;
  /** What earlier statements of the same transaction have locked, of what was there before the file. */
  readonly held: readonly HeldLock[];
  /** The statement's own text. */
  readonly text: string;
  /** The place in it of what the parser found at one of its own. */
  indexOf(location: number): number;
  /** What the statements after this one do in the same transaction. */
  following(): readonly Action[];
  resolve(name: Name): Resolved;
  /** Whether this very file made the relation, so that no release knows it. */
  born(name: Name): boolean;
  /** The same of anything else that has a birth. */
  bornHere(birth: Birth): boolean;
}
