/** How a runner runs a file: in one transaction, or each statement by itself. */
export const TRANSACTION_MODES = ["per-file", "none"] as const;
export type TransactionMode = (typeof TRANSACTION_MODES)[number];

/** Programs that run migrations, and whose way with a file is known. */
export const RUNNERS = [
  "plain",
  "golang-migrate",
  "prisma",
  "diesel",
  "sqlx",
  "flyway",
  "goose",
  "dbmate",
  "sql-migrate",
  "pop",
  "postgres-migrations",
  "django",
  "rails",
] as const;
export type Runner = (typeof RUNNERS)[number];
