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

export type Judges = {
  readonly [Kind in Action["kind"]]?: (action: Extract<Action, { kind: Kind }>, scene: Scene) => Verdict | undefined;
};

export interface Example {
  /** What is there before: SQL for a fresh database. */
  before: string;
  unsafe: string;
  safe: string;
  /** How the files are run. @default "per-file" */
  transaction?: "per-file" | "none";
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
