import type { Affected, Level, Question } from "./finding";
import type { Action } from "./postgres/actions";
import type { Scene } from "./postgres/scene";

/** What a rule says of one action. */
export interface Verdict {
  /** One sentence, with the names of this statement. */
  message: string;
  /** Generated for this statement. */
  fix: string;
  /** Where they are others than those that the action is known to take. */
  locks?: string;
  /** Where it is another than the rule's. */
  level?: Level;
  question?: Question;
  affects?: readonly Affected[];
}

type Judges = {
  readonly [Kind in Action["kind"]]?: (action: Extract<Action, { kind: Kind }>, scene: Scene) => Verdict | undefined;
};

export interface Example {
  /** What is there before: SQL for a fresh database. */
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
  /** What the release that comes has done after the migration. */
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
  example: Example;
  judges: Judges;
}
