import assert from "node:assert/strict";
import type { Client } from "pg";
import type { Example, OldStatement, Proof } from "../../../src/migrations/rule";
import type { Postgres } from "../../support/postgres";
import { inDatabase, migrate, type Said, say } from "./sessions";
import { waitsAt } from "./waits";

/**
 * Runs a migration in a database of its own and looks for the harm that the proof tells of.
 *
 * @returns the harm in words, where there is one
 */
export function harmOf(postgres: Postgres, example: Example, sql: string): Promise<string | undefined> {
  const { proof } = example;
  if (proof.kind === "unforeseeable") return unforeseeable(postgres, example, sql, proof);
  return inDatabase(postgres, example, async (connect) => {
    if (proof.kind === "fails" || proof.kind === "differs") return broken(connect, example, sql, proof);
    if (proof.kind === "waits" || proof.kind === "queues")
      return prefixed("waits at", await waitsAt(connect, sql, example, proof));
    const migration = await connect();
    if (proof.kind === "halfway") return halfway(migration, sql, proof);
    const outcome = await migrate(migration, sql, example);
    if (proof.kind !== "irreversible") return refusal(outcome);
    worked(outcome, sql);
    return irreversible(migration, proof);
  });
}

const prefixed = (what: string, of: string | undefined) => (of === undefined ? undefined : `${what} ${of}`);

const refusal = (outcome: Said): string | undefined => ("refused" in outcome ? outcome.message : undefined);

function worked(outcome: Said, sql: string): void {
  if ("refused" in outcome) assert.fail(`${sql}: ${outcome.message}`);
}

async function broken(
  connect: () => Promise<Client>,
  example: Example,
  sql: string,
  { kind, release, prepared, role, next }: OldStatement & { kind: "fails" | "differs" },
): Promise<string | undefined> {
  const application = await connect();
  if (role !== undefined) await application.query(`SET ROLE ${role}`);
  const attempt = async () => {
    const outcome = await say(application, "BEGIN");
    if ("refused" in outcome) return outcome;
    const answer = await say(application, release, prepared);
    await say(application, "ROLLBACK");
    return answer;
  };
  const before = await attempt();
  worked(before, release);
  const migration = await connect();
  worked(await migrate(migration, sql, example), sql);
  if (next !== undefined) worked(await say(migration, next), next);
  const after = await attempt();
  if ("refused" in after) {
    assert.equal(kind, "fails", after.message);
    return after.message;
  }
  const [was, is] = [before, after].map((one) => JSON.stringify(one));
  if (kind === "fails") assert.equal(is, was);
  return is === was ? undefined : `${is} in place of ${was}`;
}

async function irreversible(
  migration: Client,
  { next, undo }: Extract<Proof, { kind: "irreversible" }>,
): Promise<string | undefined> {
  // A refused migration leaves nothing behind that would be in the way.
  if (refusal(await say(migration, next)) !== undefined) return undefined;
  return refusal(await say(migration, undo));
}

/** The runner's transaction fails after all of the file. */
async function halfway(
  migration: Client,
  sql: string,
  { see }: Extract<Proof, { kind: "halfway" }>,
): Promise<string | undefined> {
  const before = JSON.stringify(await say(migration, see));
  await migration.query("BEGIN");
  worked(await say(migration, sql), sql);
  assert.ok(refusal(await say(migration, "SELECT 1 / 0")) !== undefined);
  await migration.query("ROLLBACK");
  const after = JSON.stringify(await say(migration, see));
  return after === before ? undefined : `left behind: ${after}`;
}

async function unforeseeable(
  postgres: Postgres,
  example: Example,
  sql: string,
  { see, other = "SELECT" }: Extract<Proof, { kind: "unforeseeable" }>,
): Promise<string | undefined> {
  const answers: string[] = [];
  for (const more of ["SELECT", other])
    await inDatabase(postgres, example, async (connect) => {
      const migration = await connect();
      await migration.query(more);
      worked(await migrate(migration, sql, example), sql);
      answers.push(JSON.stringify(await say(migration, see)));
    });
  const [one, another] = answers;
  return one === another ? undefined : `${one}, and another time ${another}`;
}
