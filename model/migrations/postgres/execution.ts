import type * as Pg from "libpg-query";
import type { Action } from "./actions";
import type { Birth, Catalogue } from "./catalogue";
import type { At, CodeContext } from "./context";
import type { Parser } from "./parser";
import type { Scene } from "./scene";
import type { Session } from "./session";

/** The run of a file, as the readers of its statements see it. */
export interface Execution {
  readonly catalogue: Catalogue;
  readonly parser: Parser;
  readonly session: Session;
  /** Does a statement: judges it and folds it in; also one inside of code. */
  execute(node: Pg.Node, at: At, context: CodeContext): void;
  /** Does all actions of one statement. */
  perform(actions: readonly Action[], at: At, context: CodeContext): void;
  /** Judges one action over the catalogue as it is, and then folds it in. */
  judge(action: Action, at: At, context: CodeContext): void;
  /** The catalogue and the session as rules see them. */
  scene(at: At, context: CodeContext): Scene;
  /** Of what a statement makes. */
  birth(context: CodeContext): Birth;
}
