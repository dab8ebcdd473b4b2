import type { Catalogue, Column, CreatedAt, Resolved } from "../catalogue/catalogue";
import type { Action, LockMode } from "../read/actions";
import type { Name } from "../syntax/names";
import type { EnumSwap } from "./enum-swap";

export interface HeldLock {
  mode: LockMode;
  on: string;
  line: number;
}

/** Facts that a rule may use at the moment when a statement is about to run. */
export interface RuleContext {
  readonly catalogue: Catalogue;
  readonly searchPath: readonly string[];
  /** Major version of the server; undefined where it may be any. */
  readonly version: number | undefined;
  /** Tells transactions of one check apart. */
  readonly transaction: number;
  /** The block around the statement, such as `the runner's transaction`; undefined if it is alone. */
  readonly block: string | undefined;
  /** Locks that earlier statements of the same transaction hold on relations from before the file. */
  readonly held: readonly HeldLock[];
  /** The statement's own text. */
  readonly text: string;
  /** The place in it of what the parser found at one of its own. */
  indexOf(location: number): number;
  /** The swap of an enum for another one that an action is a part of. */
  swap(action: Action): EnumSwap | undefined;
  /** Later actions of the same statement, and those of the later statements of its transaction. */
  following(): readonly Action[];
  resolve(name: Name): Resolved;
  /** Whether this very file made the relation, so that no release knows it. */
  createdHere(name: Name): boolean;
  /** The same of anything else that has a birth. */
  isCreatedHere(createdAt: CreatedAt): boolean;
  /** Whether this file has dropped it, such as `constraint public.users named`. */
  droppedHere(what: string): boolean;
  /** Whether this file adds a column that no earlier file knows, also by IF NOT EXISTS. */
  isNewHere(column: Column | undefined): boolean;
  /** Whether the statement runs for sure, and is not under a condition of code. */
  readonly certain: boolean;
  /** The file that made something. */
  fileOf(createdAt: number): string;
}
