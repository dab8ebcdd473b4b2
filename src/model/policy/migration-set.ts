import { z } from "zod";
import { type Duration, duration } from "../types/duration";
import { quoteValue } from "../types/messages";
import { absolutePath, name } from "../types/names";
import { compareVersions } from "../types/version";
import { RUNNERS, TRANSACTION_MODES } from "./migration-runner";

/** Tells which migrations of a folder are applied, which are pending, and which releases can live with them. */

const DEFAULT_TIMEOUT: Duration = "30 minutes";
const DEFAULT_LOCK_TIMEOUT: Duration = "5 seconds";
const DEFAULT_ATTEMPTS = 5;
const DEFAULT_STATUS_TIMEOUT: Duration = "30 seconds";

/** Name of a migration's file without its folder, such as `0003_add_email.sql`. */
const migrationId = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/, {
  error: ({ input }) =>
    `${quoteValue(input)} is not the name of a migration: write its file's name, such as "0003_add_email.sql", or its version, such as "0003"`,
});

const words = z
  .array(z.string().refine((text) => !text.includes("\0"), "holds a NUL character: remove it"))
  .min(1)
  .max(256);

/**
 * Schema that a release needs of its database: part of each release, so that its host's agent also knows it of retained
 * ones.
 */
export const releaseNeeds = {
  /** Newest migration that it needs, by name or version. @default none. Change: live. */
  requiresMigration: migrationId.optional(),
  /** Newest contract migration that took away nothing which it still needs. @default none: it needs all that was ever there. Change: live. */
  toleratesMigration: migrationId.optional(),
};
export type ReleaseNeeds = z.output<z.ZodObject<typeof releaseNeeds>>;

/** Spec of a `Migrations` resource. Nothing of it takes effect before a migration is pending. */
export const migrationsSpec = z
  .strictObject({
    /** Folder with the migrations' files, absolute. */
    folder: absolutePath,
    /** @default "postgres" */
    dialect: z.enum(["postgres", "mysql", "sqlite"]).default("postgres"),
    /** Program that `apply` runs, whose way with a file the checker follows. @default told by the names and annotations of the files */
    runner: z.enum(RUNNERS).optional(),
    /** Whether it opens a transaction around each file, or runs each statement by itself. @default as the runner does it */
    transaction: z.enum(TRANSACTION_MODES).optional(),
    /** File with SQL that made the database before the first migration, such as the output of `pg_dump --schema-only`. @default none */
    schema: absolutePath.optional(),
    /** Migrations that take away what earlier releases use, by name or version. All others expand. @default none */
    contract: z.array(migrationId).max(10_000).default([]),
    /** Migrations that are applied already, by name or version; what an update applied is added to them. @default asked of `status` */
    applied: z.array(migrationId).max(100_000).optional(),
    /** Prints the applied migrations, one per line: the first word of each is a file's name or version. @default `applied` says it */
    status: z
      .strictObject({
        command: words,
        /** @default "30 seconds" */
        timeout: duration({ min: "100 milliseconds", max: "1 hour" }).default(DEFAULT_STATUS_TIMEOUT),
        /** Whether it prints all applied migrations, or the newest alone, as golang-migrate does. @default "all" */
        prints: z.enum(["all", "newest"]).default("all"),
      })
      .optional(),
    /** Applies all pending migrations, in order. */
    apply: z.strictObject({
      command: words,
      /** For one attempt. @default "30 minutes" */
      timeout: duration({ min: "1 second", max: "7 days" }).default(DEFAULT_TIMEOUT),
      /** How long a statement may wait for a lock: all requests queue behind it meanwhile. PostgreSQL only. @default "5 seconds" */
      lockTimeout: duration({ min: "10 milliseconds", max: "1 hour" }).default(DEFAULT_LOCK_TIMEOUT),
      /** Attempts where a lock could not be had in time, 1 to 100. @default 5 */
      attempts: z.int().min(1).max(100).default(DEFAULT_ATTEMPTS),
    }),
    /** Folder in which the commands run. @default `folder` */
    cwd: absolutePath.optional(),
    /** Environment of both commands, beside that of the update; secrets are kept out of every state and log. */
    env: z
      .record(
        z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,255}$/, {
          error: ({ input }) =>
            `${quoteValue(input)} is not the name of an environment variable: use letters, digits and "_"`,
        }),
        z
          .string()
          .max(65_536)
          .refine((text) => !text.includes("\0"), "holds a NUL character: remove it"),
      )
      .default({}),
  })
  .refine(({ applied, status }) => applied !== undefined || status !== undefined, {
    path: ["status"],
    error: "is missing: give a command that prints the applied migrations, or applied: [] for an empty database",
  });
export type MigrationsSpec = z.output<typeof migrationsSpec>;
export type MigrationsInput = z.input<typeof migrationsSpec>;

export const databaseName = name;

/** Facts about the migrations of its database that a pool is given. */
export const databaseConnection = z.object({
  name,
  migrations: z.array(z.object({ id: z.string(), phase: z.enum(["expand", "contract"]) })),
});
export type DatabaseConnection = z.output<typeof databaseConnection>;

/** A migration's file, and how it stands. */
export interface Migration {
  /** Name of its file. */
  id: string;
  /** SHA-256 of its text, in hexadecimal digits. */
  hash: string;
  phase: "expand" | "contract";
  state: "applied" | "pending";
}

/** One finding of the checker, as policies see it. */
export interface MigrationFinding {
  file: string;
  line: number;
  column: number;
  rule: string;
  level: "error" | "warn" | "style";
  message: string;
  /** Whether a contract migration may do it. */
  contractable: boolean;
}

/** A release on a host that may use the database, as its agent tells. */
export interface ReleaseInUse extends ReleaseNeeds {
  /** Name of the pool, and the folder of its agent. */
  pool: string;
  directory: string;
  /** Empty where the agent could not be asked. */
  release: string;
  role: "runs" | "retained" | "unknown";
}

/** Whether a name or version means a file: `0003_add_email.sql`, `0003_add_email`, `0003`, `3`, `V3`. */
export function means(given: string, id: string): boolean {
  const bare = id.replace(/(?:\.up)?\.sql$/i, "");
  if (given === id || given === bare || given === bare.replace(/\.up$/i, "")) return true;
  const version = versionOf(id);
  return version !== undefined && version === versionOf(given) && /^[VRvr]?[0-9._-]+$/.test(given);
}

/** The version that a file's name begins with, without leading zeros. */
function versionOf(text: string): string | undefined {
  return /^[VRvr]?0*(\d[\d._]*?)(?:[._-]*$|_|-|\.(?:up|sql))/.exec(text)?.[1];
}

/** The file that a name or version means; undefined if there is none, or more than one. */
export function findMigration(ids: readonly string[], given: string): string | undefined {
  const exact = ids.find((id) => id === given);
  if (exact !== undefined) return exact;
  const found = ids.filter((id) => means(given, id));
  return found.length === 1 ? found[0] : undefined;
}

/** The files of `ids` that the lines of a status command name. Other lines (titles, old versions) are no concern here. */
export function appliedIn(output: string, ids: readonly string[], prints: "all" | "newest" = "all"): string[] {
  const given = output.split("\n").flatMap((line) => line.trim().split(/[\s|,]+/)[0] ?? []);
  const named = ids.filter((id) => given.some((word) => word !== "" && means(word, id)));
  const newest = named.at(-1);
  return prints === "all" || newest === undefined ? named : ids.slice(0, ids.indexOf(newest) + 1);
}

/** Whether the migration of an id comes after another one, or is another one at all where there is none. */
function isAfter(id: string, other: string | undefined): boolean {
  return other === undefined || compareVersions(id, other) > 0;
}

/**
 * Files that were changed after they were applied, so that the database no longer matches them.
 *
 * @param recorded the files of the last update, which had applied all of them when it ended
 */
export function changedFiles(recorded: readonly Pick<Migration, "id" | "hash">[], now: readonly Migration[]): string[] {
  const before = new Map(recorded.map(({ id, hash }) => [id, hash]));
  return now
    .filter(({ id, hash, state }) => state === "applied" && before.has(id) && before.get(id) !== hash)
    .map(({ id }) => id);
}

/** Contract migrations that removed, or will remove, something that a release still needs. */
export function takenFrom(
  needs: ReleaseNeeds | undefined,
  migrations: readonly Pick<Migration, "id" | "phase">[],
): string[] {
  const ids = migrations.map(({ id }) => id);
  const tolerated = needs?.toleratesMigration === undefined ? undefined : findMigration(ids, needs.toleratesMigration);
  return migrations.filter(({ id, phase }) => phase === "contract" && isAfter(id, tolerated)).map(({ id }) => id);
}
