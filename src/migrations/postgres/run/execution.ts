import type * as Pg from "libpg-query";
import type { Catalogue, CreatedAt } from "../catalogue/catalogue";
import type { Action } from "../read/actions";
import type { At, CodeContext } from "../syntax/context";
import type { Parser } from "../syntax/parser";
import type { RuleContext } from "./rule-context";
import type { Session } from "./session";

/** The run of a file, as the readers of its statements see it. */
export interface Execution {
  readonly catalogue: Catalogue;
  readonly parser: Parser;
  readonly session: Session;
  /** Executes a statement: judges it and applies it; also one inside of code. */
  execute(node: Pg.Node, at: At, context: CodeContext): void;
  /** As the statement of data definition that it is; undefined for others. The same ones each time. */
  actionsOf(node: Pg.Node): readonly Action[] | undefined;
  /** Does all actions of one statement. */
  perform(actions: readonly Action[], at: At, context: CodeContext): void;
  /** Judges one action over the catalogue as it is, and then applies it. */
  judge(action: Action, at: At, context: CodeContext): void;
  /** The catalogue and the session as rules see them. */
  ruleContext(at: At, context: CodeContext): RuleContext;
  /** Origin of the objects that a statement creates. */
  createdAt(context: CodeContext): CreatedAt;
}
