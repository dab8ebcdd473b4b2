/** The judge of SQL migrations, as others use it. */

export { checkMigrations } from "./check";
export type { CheckResult, Dialect, FileResult, Finding, MigrationFile, TransactionMode } from "./finding";
export { orderMigrations, undoes } from "./layout";
export { lex } from "./lexer";
export type { Proof, Rule } from "./rule";
export { findRule, RULES } from "./rules";
