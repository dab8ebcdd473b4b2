export { checkMigrations, verdictOf } from "./check";
export * from "./finding";
export { compareVersions, orderMigrations } from "./layout";
export type { Example, Rule } from "./rule";
export { findRule, RULES } from "./rules";
