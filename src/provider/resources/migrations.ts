import { readFile } from "node:fs/promises";
import { z } from "zod";
import { UnreachableError } from "../../agent/client/connection";
import { checkMigrations } from "../../migrations";
import {
  changedFiles,
  type DatabaseConnection,
  databaseName,
  findMigration,
  type Migration,
  type MigrationFinding,
  type MigrationsSpec,
  migrationsSpec,
  type ReleaseInUse,
} from "../../model/policy/migration-set";
import type { Release } from "../../model/pool/release";
import { messageOf } from "../../model/types/errors";
import { name as poolName } from "../../model/types/names";
import { parseInputs, renameFailures } from "../checks/inputs";
import { type Context, diffValues, type Failure, isUnknown, type Outputs, type Resource, UNKNOWN } from "../server";
import { agentRef, withAgent } from "./agent-ref";
import { applyPending, askApplied } from "./migration-apply";
import { type MigrationText, readMigrationFolder } from "./migration-folder";

/** Most findings that are passed on: who has more reads them with `sluice migrations check`. */
const MAX_FINDINGS = 200;

const pools = z
  .array(z.strictObject({ agent: agentRef, pool: poolName }))
  .max(1000)
  .default([]);

/** A declaration, as the program gives it. */
interface Declaration extends MigrationsSpec {
  name: string;
  /** Pools whose releases use the database. */
  pools: z.output<typeof pools>;
}

interface Inputs extends Declaration {
  /** Computed: the folder's files, in order. */
  migrations: Migration[];
  /** Computed: names of those that an update applies. */
  pending: string[];
  /** Computed, for policies: what the checker finds in the pending ones. */
  findings: MigrationFinding[];
  /** Computed, for policies: releases that run or are kept, as the agents tell. */
  inUse: ReleaseInUse[];
  /** Computed, for policies. */
  change: { kind: "promotion" | "none"; to: string };
}

interface State extends Inputs {
  /** Connection for pools, so that their releases come after the migrations. */
  connection: DatabaseConnection;
  /** The last time that migrations were applied. */
  last?: { migrations: string[]; at: string; attempts: number };
}

/** The migrations of a database: those that are pending are applied once, before the releases that depend on it. */
export const migrationsResource: Resource<Inputs, State> = {
  type: "sluice:index:Migrations",

  async check(context, { olds, news }) {
    const { failures, values, known } = parseInputs(news, {
      own: { name: databaseName, pools },
      spec: migrationsSpec,
    });
    failures.push(...renameFailures(olds, values));
    if (!known || failures.length > 0) return { failures, inputs: { ...values, ...unknowns() } };
    const recorded = olds?.migrations ?? [];
    try {
      const texts = await readMigrationFolder(values.folder);
      const migrations = await standing(values, texts, recorded, context);
      const found = folderFailures(values, migrations, recorded);
      const computed = {
        migrations,
        pending: idsOf(migrations, "pending"),
        findings: await judge(values, texts, migrations),
        inUse: await releasesInUse(values),
      };
      const kind = computed.pending.length > 0 ? "promotion" : "none";
      const change = { kind, to: computed.pending.at(-1) ?? "" };
      return { failures: found, inputs: { ...values, ...computed, change } };
    } catch (error) {
      return { failures: [{ property: "folder", reason: messageOf(error) }], inputs: { ...values, ...unknowns() } };
    }
  },

  async diff(_context, { olds, news }) {
    if (isUnknown(news.migrations)) return { entries: [{ path: "pending", kind: "update" as const }] };
    // A file that is gone, or whose phase changed, changes nothing by itself: it is only recorded.
    return { entries: diffValues(idsOf(olds.migrations ?? [], "pending"), news.pending, ["pending"]) };
  },

  async create(context, { inputs }) {
    return { id: inputs.name, outputs: await bring(inputs, undefined, context) };
  },

  async read(_context, { id, inputs, state }) {
    return { id, inputs, outputs: state };
  },

  async update(context, { olds, news }) {
    return bring(news, olds, context);
  },

  async delete() {
    // Applied migrations stay applied: the database is not this resource's to change back.
  },
};

function unknowns() {
  return { migrations: UNKNOWN, pending: UNKNOWN, findings: UNKNOWN, inUse: UNKNOWN, change: UNKNOWN };
}

function idsOf(migrations: readonly Migration[], state: Migration["state"]): string[] {
  return migrations.filter((one) => one.state === state).map(({ id }) => id);
}

/** Problems of the folder and of the declarations about its files. */
function folderFailures(
  spec: Declaration,
  migrations: readonly Migration[],
  recorded: readonly Migration[],
): Failure[] {
  const ids = migrations.map(({ id }) => id);
  const named = (property: string, given: string | undefined): Failure[] =>
    given === undefined || findMigration(ids, given) !== undefined
      ? []
      : [
          {
            property,
            reason: `"${given}" names no migration of ${spec.folder}, or several: write the name of its file`,
          },
        ];
  return [
    ...changedFiles(recorded, migrations).map((id) => ({
      property: "folder",
      reason: `${id} was changed after it was applied: put it back as it was, and write a new migration`,
    })),
    ...spec.contract.flatMap((given, index) => named(`contract[${index}]`, given)),
  ];
}

/** The files with their phase and state. Where the database can't be asked, what was recorded stands. */
async function standing(
  spec: Declaration,
  texts: readonly MigrationText[],
  recorded: readonly Migration[],
  context: Context,
): Promise<Migration[]> {
  const ids = texts.map(({ id }) => id);
  // An update that ended well has applied all that it recorded.
  const known = recorded.map(({ id }) => id);
  const applied = await askApplied(spec, ids, known, context).catch((error: unknown) => {
    context.log.warn(
      `the applied migrations can't be read from the database (${messageOf(error)}): showing the recorded ones`,
    );
    return known;
  });
  const contract = new Set(spec.contract.map((given) => findMigration(ids, given)));
  return texts.map(({ id, hash }) => ({
    id,
    hash,
    phase: contract.has(id) ? "contract" : "expand",
    state: applied.includes(id) ? "applied" : "pending",
  }));
}

/** Findings of the checker in the pending files, after all applied ones. */
async function judge(
  spec: Declaration,
  texts: readonly MigrationText[],
  migrations: readonly Migration[],
): Promise<MigrationFinding[]> {
  const pending = new Set(idsOf(migrations, "pending"));
  if (pending.size === 0) return [];
  const schema = spec.schema === undefined ? {} : { schema: await readFile(spec.schema, "utf8") };
  const order = [...texts.filter(({ id }) => !pending.has(id)), ...texts.filter(({ id }) => pending.has(id))];
  const { files } = await checkMigrations(
    order.map(({ id, sql, settings }) => ({ path: id, sql, ...(settings !== undefined && { settings }) })),
    {
      dialect: spec.dialect,
      applied: new Set(texts.filter(({ id }) => !pending.has(id)).map(({ id }) => id)),
      ...(spec.runner !== undefined && { runner: spec.runner }),
      ...(spec.transaction !== undefined && { transaction: spec.transaction }),
      ...schema,
    },
  );
  const found = files.flatMap(({ findings }) => findings);
  return found
    .filter(({ level }) => level !== "style")
    .toSorted((a, b) => Number(a.level !== "error") - Number(b.level !== "error"))
    .slice(0, MAX_FINDINGS)
    .map(({ file, line, column, rule, level, message, contractable }) => ({
      file,
      line,
      column,
      rule,
      level,
      message,
      contractable,
    }));
}

/** The releases that run or are kept on each of the pools, as their agents tell. */
async function releasesInUse({ pools }: Declaration): Promise<ReleaseInUse[]> {
  const each = pools.map(async ({ agent, pool }): Promise<ReleaseInUse[]> => {
    const at = { pool, directory: agent.directory };
    try {
      const found = await withAgent(agent, (client) => client.pool(pool));
      if (found === undefined) return [];
      const use = (role: ReleaseInUse["role"]) => (release: Release) => ({
        ...at,
        release: release.id,
        role,
        requiresMigration: release.requiresMigration,
        toleratesMigration: release.toleratesMigration,
      });
      return [...found.running.map(use("runs")), ...found.retained.map(({ release }) => use("retained")(release))];
    } catch (error) {
      if (!(error instanceof UnreachableError)) throw error;
      return [{ ...at, release: "", role: "unknown" }];
    }
  });
  return (await Promise.all(each)).flat();
}

/** Applies what is pending, and gives the outputs. In a preview it only says what it would do. */
async function bring(spec: Inputs, olds: State | undefined, context: Context): Promise<Outputs<State>> {
  if (context.preview) {
    const { pending } = spec;
    if (Array.isArray(pending) && pending.length > 0)
      context.log.info(
        `applies ${pending.length === 1 ? "a migration" : `${pending.length} migrations`}: ${pending.join(", ")}`,
      );
    return outputsOf(spec, olds?.last);
  }
  const texts = await readMigrationFolder(spec.folder);
  const changed = texts.filter(({ id, hash }) => spec.migrations.find((one) => one.id === id)?.hash !== hash);
  if (changed.length > 0)
    throw new Error(`${changed.map(({ id }) => id).join(", ")} changed while the update ran: start it again`);
  const ids = texts.map(({ id }) => id);
  const known = idsOf(olds?.migrations ?? [], "applied");
  const applied = await askApplied(spec, ids, known, context);
  const pending = ids.filter((id) => !applied.includes(id));
  const unjudged = pending.filter((id) => !spec.pending.includes(id));
  if (unjudged.length > 0)
    throw new Error(
      `${unjudged.join(", ")} ${unjudged.length === 1 ? "is" : "are"} now pending, but no policy has checked that: start the update again`,
    );
  if (pending.length === 0) return outputsOf(spec, olds?.last);
  const attempts = await applyPending(spec, pending, context);
  if (spec.status !== undefined) {
    const after = await askApplied(spec, ids, known, context);
    const left = pending.filter((id) => !after.includes(id));
    if (left.length > 0)
      throw new Error(`the command that applies migrations succeeded, but these are still pending: ${left.join(", ")}`);
  }
  context.log.info(`applied ${pending.join(", ")}${attempts === 1 ? "" : ` at the ${attempts}. attempt`}`);
  return outputsOf(spec, { migrations: pending, at: new Date().toISOString(), attempts });
}

/** The inputs with everything applied, and what pools are told of it. */
function outputsOf(inputs: Inputs, last: State["last"]): Outputs<State> {
  const { migrations, name } = inputs;
  const done = isUnknown(migrations)
    ? UNKNOWN
    : migrations.map((migration) => ({ ...migration, state: "applied" as const }));
  const connection = isUnknown(migrations)
    ? UNKNOWN
    : { name, migrations: migrations.map(({ id, phase }) => ({ id, phase })) };
  return { ...inputs, migrations: done, pending: [], connection, ...(last === undefined ? {} : { last }) };
}
