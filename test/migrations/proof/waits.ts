import assert from "node:assert/strict";
import type { Client } from "pg";
import type { Example, Proof } from "../../../src/migrations/rule";
import { until } from "../../support/until";
import { LOCK_NOT_AVAILABLE, NOT_IN_A_TRANSACTION, say, statementsOf } from "./sessions";

type Waits = Extract<Proof, { kind: "waits" | "queues" }>;

/** Only waiting for a lock counts against it, so a slow machine changes nothing. */
const PATIENCE = "SET lock_timeout = '100ms'";
const DEADLINE_MS = 60_000;

/** How many rows a session has worked through so far, and the files of tables, which are others once they are rewritten. */
const WORK = `SELECT (SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0) + n_tup_ins + n_tup_upd + n_tup_del)
    FROM pg_stat_xact_user_tables) AS rows,
  (SELECT array_agg(pg_relation_filenode(oid) ORDER BY oid) FROM pg_class WHERE oid = ANY ($1)) AS files`;
const TABLES = `SELECT array_agg(oid) AS tables FROM pg_class
  WHERE relkind IN ('r', 'm') AND relnamespace = 'public'::regnamespace`;

/** PostgreSQL runs it outside of transactions only. */
const OUTSIDE = Symbol("outside of transactions");

/** The statement of a migration at which the running release waits, if there is one. */
export async function waitsAt(
  connect: () => Promise<Client>,
  sql: string,
  { transaction = "per-file" }: Example,
  proof: Waits,
): Promise<string | undefined> {
  const migration = await connect();
  const application = await connect();
  const other = await connect();
  await application.query(PATIENCE);
  const isWaiting = async (): Promise<boolean> => {
    const outcome = await say(application, proof.release);
    if (!("refused" in outcome)) return false;
    assert.equal(outcome.refused, LOCK_NOT_AVAILABLE, `${proof.release}: ${outcome.message}`);
    return true;
  };
  const units = transaction === "none" ? statementsOf(sql).map((one) => [one]) : [statementsOf(sql)];
  for (const unit of units) {
    let found: string | undefined | typeof OUTSIDE = OUTSIDE;
    if (proof.kind === "waits") found = await whileItWorks(migration, unit, isWaiting);
    if (found === OUTSIDE) {
      assert.ok(proof.open !== undefined, `${unit.join(" ")} needs a transaction to wait for`);
      const runs = transaction === "none" ? unit : ["BEGIN", ...unit, "COMMIT"];
      found = await whileItWaits(migration, other, proof.open, runs.join("; "), isWaiting);
    }
    if (found !== undefined) return found;
  }
  return undefined;
}

/** A lock is kept until the transaction's end: whoever waits after a statement that worked through rows waited meanwhile. */
async function whileItWorks(
  migration: Client,
  unit: readonly string[],
  isWaiting: () => Promise<boolean>,
): Promise<string | undefined | typeof OUTSIDE> {
  const { tables } = (await migration.query(TABLES)).rows[0];
  const work = async () => JSON.stringify((await migration.query(WORK, [tables])).rows);
  await migration.query("BEGIN");
  for (const statement of unit) {
    const before = await work();
    const outcome = await say(migration, statement);
    if ("refused" in outcome) {
      await migration.query("ROLLBACK");
      assert.equal(outcome.refused, NOT_IN_A_TRANSACTION, `${statement}: ${outcome.message}`);
      return OUTSIDE;
    }
    if ((await work()) !== before && (await isWaiting())) {
      await migration.query("ROLLBACK");
      return statement;
    }
  }
  await migration.query("COMMIT");
  return undefined;
}

/** The migration begins while a transaction of the release is open, and waits for it, or is through at once. */
async function whileItWaits(
  migration: Client,
  other: Client,
  open: string,
  sql: string,
  isWaiting: () => Promise<boolean>,
): Promise<string | undefined> {
  const { pid } = (await migration.query("SELECT pg_backend_pid() AS pid")).rows[0];
  await other.query("BEGIN");
  await other.query(open);
  let ended = false;
  const migrated = say(migration, sql).finally(() => {
    ended = true;
  });
  await until(
    `${sql} to wait or to end`,
    async () => ended || (await other.query("SELECT FROM pg_locks WHERE pid = $1 AND NOT granted", [pid])).rowCount,
    { deadlineMs: DEADLINE_MS },
  );
  const waited = await isWaiting();
  await other.query("COMMIT");
  const outcome = await migrated;
  if ("refused" in outcome) assert.fail(`${sql}: ${outcome.message}`);
  return waited ? sql : undefined;
}
