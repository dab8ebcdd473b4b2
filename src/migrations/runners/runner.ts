import type { Runner, TransactionMode } from "../../model/policy/migration-runner";

/**
 * How the statements of a file reach the server: `transaction` in one that the runner opens, `each` one by one on their
 * own, `at-once` as one string, which the server runs as one transaction unless the string says otherwise.
 */
export type Delivery = "transaction" | "each" | "at-once";

interface Ways {
  /** Without a word of the file or the operator. */
  usual: Delivery;
  /** Where the file, or the operator, says that it runs without a transaction. */
  alone: Delivery;
}

const WAYS: Record<Runner, Ways> = {
  plain: { usual: "transaction", alone: "each" },
  "golang-migrate": { usual: "at-once", alone: "at-once" },
  prisma: { usual: "at-once", alone: "at-once" },
  diesel: { usual: "transaction", alone: "at-once" },
  sqlx: { usual: "transaction", alone: "at-once" },
  flyway: { usual: "transaction", alone: "each" },
  goose: { usual: "transaction", alone: "each" },
  dbmate: { usual: "transaction", alone: "at-once" },
  "sql-migrate": { usual: "transaction", alone: "each" },
  pop: { usual: "transaction", alone: "at-once" },
  "postgres-migrations": { usual: "transaction", alone: "at-once" },
  // Their output holds the BEGIN and COMMIT that they send.
  django: { usual: "each", alone: "each" },
  rails: { usual: "each", alone: "each" },
};

/** @param alone whether the file itself says that it runs without a transaction */
export function deliveryOf(runner: Runner, alone: boolean, transaction: TransactionMode | undefined): Delivery {
  const ways = WAYS[runner];
  if (alone || transaction === "none") return ways.alone;
  return transaction === "per-file" ? "transaction" : ways.usual;
}
