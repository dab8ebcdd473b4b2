import { Catalogue, type CreatedAt } from "../catalogue/catalogue";
import type { EnumSwap } from "./enum-swap";
import type { HeldLock } from "./rule-context";

export const DEFAULT_SEARCH_PATH: readonly string[] = ["public"];

/** State that a rollback restores. */
interface Snapshot {
  catalogue: Catalogue;
  searchPath: readonly string[];
  enumValues: ReadonlyMap<string, string>;
  held: readonly HeldLock[];
}

/** `runner` is the one that the runner opens around a file; `implicit` that of several statements sent as one string. */
export type Block = "runner" | "explicit" | "implicit";

/** A connection as the migration finds it: its transaction, what that has done so far, and its settings. */
export class Session {
  transaction = 0;
  block: Block | undefined;
  /** Line on which the open block began. */
  openedAt = 0;
  searchPath = DEFAULT_SEARCH_PATH;
  held: HeldLock[] = [];
  /** Values that this transaction added to enums that were there before it, with their types. */
  enumValues = new Map<string, string>();
  readonly prepared = new Set<string>();
  /** Enums that the transaction swaps for others, as its statements tell beforehand. */
  swaps: readonly EnumSwap[] = [];
  /** Births of what this file dropped: what it makes again is known to the releases that run. */
  private readonly dropped = new Map<string, CreatedAt>();
  /** To which SET LOCAL goes back. */
  private lastingPath: readonly string[] | undefined;
  private start: Snapshot | undefined;
  private savepoints: { name: string; snapshot: Snapshot | undefined }[] = [];

  /** @param remembers whether anything is ever rolled back, so that states must be kept */
  constructor(
    readonly catalogue: Catalogue,
    private readonly remembers: boolean,
    private readonly nextTransaction: () => number,
  ) {
    this.transaction = nextTransaction();
  }

  gone(what: string, createdAt: CreatedAt): void {
    if (!this.dropped.has(what)) this.dropped.set(what, createdAt);
  }

  isGone(what: string): boolean {
    return this.dropped.has(what);
  }

  bornAs(what: string, createdAt: CreatedAt): CreatedAt {
    return this.dropped.has(what) ? this.dropped.get(what) : createdAt;
  }

  begin(block: Block, at: number): void {
    // BEGIN in a string of several statements makes the transaction that is open already an explicit one.
    if (this.block === "implicit" && block === "explicit") {
      this.block = block;
      return;
    }
    this.fresh();
    this.block = block;
    this.openedAt = at;
    this.start = this.snapshot();
  }

  /** A statement that is a transaction of its own. */
  fresh(): void {
    this.transaction = this.nextTransaction();
    this.held = [];
    this.enumValues = new Map();
    this.swaps = [];
    this.savepoints = [];
  }

  commit(): void {
    if (this.lastingPath) this.searchPath = this.lastingPath;
    this.close();
  }

  rollback(): void {
    this.goBackTo(this.start);
    this.close();
  }

  savepoint(name: string): void {
    this.savepoints.push({ name, snapshot: this.snapshot() });
  }

  /** @returns whether there is one of that name */
  release(name: string): boolean {
    const index = this.savepoints.findLastIndex((savepoint) => savepoint.name === name);
    if (index >= 0) this.savepoints.length = index;
    return index >= 0;
  }

  /** @returns whether there is one of that name */
  rollbackTo(name: string): boolean {
    const index = this.savepoints.findLastIndex((savepoint) => savepoint.name === name);
    if (index < 0) return false;
    this.goBackTo(this.savepoints[index]?.snapshot);
    this.savepoints.length = index + 1;
    return true;
  }

  setSearchPath(path: readonly string[], local: boolean): void {
    if (local && this.block === undefined) return;
    if (local) this.lastingPath ??= this.searchPath;
    else this.lastingPath = undefined;
    this.searchPath = path;
  }

  private close(): void {
    this.lastingPath = undefined;
    this.block = undefined;
    this.start = undefined;
    this.fresh();
  }

  private snapshot(): Snapshot | undefined {
    if (!this.remembers) return undefined;
    return {
      catalogue: new Catalogue(this.catalogue),
      searchPath: this.searchPath,
      enumValues: new Map(this.enumValues),
      held: [...this.held],
    };
  }

  private goBackTo(snapshot: Snapshot | undefined): void {
    if (snapshot === undefined) return;
    this.catalogue.become(new Catalogue(snapshot.catalogue));
    this.searchPath = snapshot.searchPath;
    this.enumValues = new Map(snapshot.enumValues);
    this.held = [...snapshot.held];
  }
}
