import type { Affected, Level, Question } from "./finding";
import type { Action } from "./postgres/read/actions";
import type { RuleContext } from "./postgres/run/rule-context";

/** A rule's verdict on one action. */
export interface RuleVerdict {
  /** One sentence, with the names of this statement. */
  message: string;
  /** Generated for this statement. */
  fix: string;
  /** Locks, if they differ from those that the action is known to take. */
  locks?: string;
  /** Level, if it differs from the rule's. */
  level?: Level;
  question?: Question;
  /** Whether a contract migration may do it, if that differs from the rule. */
  contractable?: boolean;
  affects?: readonly Affected[];
}

type Judges = {
  readonly [Kind in Action["kind"]]?: (
    action: Extract<Action, { kind: Kind }>,
    context: RuleContext,
  ) => RuleVerdict | undefined;
};

export interface Example {
  /** The schema before: SQL for a fresh database. */
  before: string;
  unsafe: string;
  safe: string;
  /** How the files are run. @default "per-file" */
  transaction?: "per-file" | "none";
  proof: Proof;
}

/**
 * How a real PostgreSQL shows that the unsafe migration is unsafe and the safe one is not. `release` is a statement of the
 * release that runs, which works before the migration.
 */
export type Proof =
  | (OldStatement & { kind: "fails" | "differs" })
  | {
      /**
       * It waits for a lock that the migration holds while it works through rows. Statements that run outside of
       * transactions are watched while they wait for `open`, which another transaction of the release did.
       */
      kind: "waits";
      release: string;
      open?: string;
    }
  /** It waits behind the migration, which waits for `open`, however short its own work is. */
  | { kind: "queues"; release: string; open: string }
  | {
      /** After `next` of the release that comes, what would put the schema back fails. */
      kind: "irreversible";
      next: string;
      undo: string;
    }
  /** The migration itself fails. */
  | { kind: "refused" }
  /** A migration that fails at its end leaves something behind, as a query shows. */
  | { kind: "halfway"; see: string }
  /** The same text does other things another time, as a query shows; with more in the database where `other` is given. */
  | { kind: "unforeseeable"; see: string; other?: string };

export interface OldStatement {
  release: string;
  /** As drivers do: it was prepared before the migration. */
  prepared?: true;
  /** It comes from this role, which owns nothing. */
  role?: "app";
  /** SQL that the next release has run after the migration. */
  next?: string;
}

export interface Rule {
  /** Also the name of its page, and what bypasses name. */
  id: string;
  level: Level;
  question: Question;
  title: string;
  /** Why it is unsafe, for people: two or three sentences. */
  why: string;
  /** The locks that such statements take, and what they block. */
  locks: string;
  /** The safe way, in general. */
  instead: string;
  /** Whether a contract migration may do it once no release needs what it takes away. */
  contractable: boolean;
  /** It judges swaps of enums as a whole; all other rules leave out what belongs to one. */
  judgesSwaps?: true;
  /** A second finding in the same file would tell nothing new. */
  oncePerFile?: true;
  example: Example;
  judges: Judges;
}
