import type { Client, QueryResult } from "pg";
import { lex } from "../../../src/migrations/lexer";
import type { Example } from "../../../src/migrations/rule";
import type { Postgres } from "../../support/postgres";

/** PostgreSQL's reply to a statement: its answer, or the code of its refusal. */
export type Said = { answer: unknown } | { refused: string; message: string };

export const LOCK_NOT_AVAILABLE = "55P03";
export const NOT_IN_A_TRANSACTION = "25001";

let databases = 0;

/** Runs work in a fresh database with what an example has there before. */
export async function inDatabase<T>(
  postgres: Postgres,
  { before }: Example,
  work: (connect: () => Promise<Client>) => Promise<T>,
): Promise<T> {
  const name = `example_${++databases}`;
  await postgres.query(`CREATE DATABASE ${name}`);
  const clients: Client[] = [];
  const connect = async () => {
    const client = await postgres.client(name);
    clients.push(client);
    return client;
  };
  try {
    const owner = await connect();
    await owner.query(before);
    await owner.end();
    return await work(connect);
  } finally {
    // Some are ended by the example itself.
    await Promise.allSettled(clients.map((client) => client.end()));
    await postgres.query(`DROP DATABASE ${name} WITH (FORCE)`);
  }
}

/** Statements of a file, as a runner that sends each by itself cuts them. */
export function statementsOf(sql: string): string[] {
  return lex(sql)
    .statements.map(({ start, end }) => sql.slice(start, end).trim())
    .filter((statement) => statement !== "");
}

/** Runs a migration as the runner does, and ends the transaction that is left open by one that fails. */
export async function migrate(client: Client, sql: string, { transaction = "per-file" }: Example): Promise<Said> {
  if (transaction === "none") {
    for (const statement of statementsOf(sql)) {
      const outcome = await say(client, statement);
      if ("refused" in outcome) return outcome;
    }
    return { answer: undefined };
  }
  await client.query("BEGIN");
  const outcome = await say(client, sql);
  if ("refused" in outcome) {
    await client.query("ROLLBACK");
    return outcome;
  }
  return say(client, "COMMIT");
}

export async function say(client: Client, sql: string, prepared = false): Promise<Said> {
  try {
    const result = await client.query(prepared ? { text: sql, name: "old" } : { text: sql });
    return { answer: answerOf(result) };
  } catch (error) {
    const { code = "lost", message } = error as Error & { code?: string };
    return { refused: code, message };
  }
}

/** Result that a driver hands to a release: rows, how many were touched, and the types that it decodes them by. */
function answerOf(result: QueryResult | QueryResult[]): unknown {
  const last = Array.isArray(result) ? result.at(-1) : result;
  return { rows: last?.rows, count: last?.rowCount, types: last?.fields.map(({ dataTypeID }) => dataTypeID) };
}
