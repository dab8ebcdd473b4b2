/** The judge of SQL migrations, as others use it. */

export { checkMigrations } from "./check";
export type { CheckResult, Dialect, FileResult, Finding, Level, MigrationFile } from "./finding";
export { lex } from "./lexer";
export type { Proof, Rule } from "./rule";
export { findRule, RULES } from "./rules";
export { STANDARD_INPUT } from "./runners/layout";
export { migrationName, orderMigrations, settingsFile, undoes } from "./runners/names";
