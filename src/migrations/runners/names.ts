import type { Runner } from "../../model/policy/migration-runner";
import { compareVersions } from "../../model/types/version";
import type { Dialect } from "../finding";

const UNDO_NAME = /(?:\.(?:down|undo|rollback)\.sql|^down\.sql)$/i;
const FLYWAY_NAME = /^([VUBR])([0-9][0-9._]*)?__.*\.sql$/i;
/** `20240131_users.postgres.autocommit.up.sql`, with or without either of the two. */
const POP_NAME = /^(\d+_[^.]+)(?:\.((?!autocommit\b)[a-z]+[0-9]?))?(\.autocommit)?\.up\.sql$/i;
/** golang-migrate, sqlx and pop all give such names; only golang-migrate's files go without a transaction. */
const TIMESTAMPED = /^\d{8,}_/;
/** Prisma's folders, and nobody else's, begin so. */
const PRISMA_PATH = /(?:^|[/\\])\d+_[^/\\]*[/\\]migration\.sql$/i;
/** As 2024-01-31-120000_users/up.sql: its version is the number without dashes. */
const DIESEL_VERSION = /^(\d{4})-(\d\d)-(\d\d)-(\d{6})/;

const DIALECTS: Readonly<Record<string, Dialect | "other">> = {
  postgres: "postgres",
  postgresql: "postgres",
  mysql: "mysql",
  mariadb: "mysql",
  sqlite: "sqlite",
  sqlite3: "sqlite",
  cockroach: "other",
  cockroachdb: "other",
};

const nameOf = (path: string): string => path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1);

/** The name by which a runner records a migration: its file's, or its folder's where each one has a folder of its own. */
export function migrationName(path: string): string {
  const runner = runnerOfName(path);
  if (runner !== "prisma" && runner !== "diesel") return nameOf(path);
  const folder = path.split(/[/\\]/).at(-2);
  return folder === undefined ? nameOf(path) : `${folder.replace(DIESEL_VERSION, "$1$2$3$4")}.sql`;
}

/** The runner that gives files such names; undefined where any may, and the strictest of them where several do. */
export function runnerOfName(path: string): Runner | undefined {
  const name = nameOf(path).toLowerCase();
  if (name === "migration.sql") return "prisma";
  if (name === "up.sql") return "diesel";
  if (FLYWAY_NAME.test(name)) return "flyway";
  if (!name.endsWith(".up.sql")) return undefined;
  const pop = popName(path);
  if (pop?.dialect !== undefined || pop?.autocommit) return "pop";
  return TIMESTAMPED.test(name) ? "sqlx" : "golang-migrate";
}

/** Whether a file lies where Prisma puts one; elsewhere, its name may be anybody's. */
export const isPrismas = (path: string): boolean => PRISMA_PATH.test(path);

/** Whether a file leads back, by its name: it is never judged. */
export function undoes(path: string): boolean {
  const name = nameOf(path);
  return UNDO_NAME.test(name) || FLYWAY_NAME.exec(name)?.[1]?.toUpperCase() === "U";
}

/** The file beside a migration in which its runner has settings for it alone, if it is one of those that do so. */
export function settingsFile(path: string): string | undefined {
  const runner = runnerOfName(path);
  if (runner === "flyway") return `${path}.conf`;
  return runner === "diesel" ? path.replace(/up\.sql$/i, "metadata.toml") : undefined;
}

export function popName(
  path: string,
): { migration: string; dialect: Dialect | "other" | undefined; autocommit: boolean } | undefined {
  const [, migration, dialect, autocommit] = POP_NAME.exec(nameOf(path)) ?? [];
  if (migration === undefined) return undefined;
  return { migration, dialect: DIALECTS[dialect?.toLowerCase() ?? ""], autocommit: autocommit !== undefined };
}

/** Files of pop that a database of this dialect does not get, with the reason. */
export function notOfDialect(paths: readonly string[], dialect: Dialect): Map<string, string> {
  const left = new Map<string, string>();
  const specific = new Set(
    paths.flatMap((path) => {
      const pop = popName(path);
      return pop?.dialect === dialect ? [pop.migration] : [];
    }),
  );
  for (const path of paths) {
    const pop = popName(path);
    if (pop === undefined) continue;
    if (pop.dialect !== undefined && pop.dialect !== dialect) left.set(path, "it is for another database");
    else if (pop.dialect === undefined && specific.has(pop.migration))
      left.set(path, `a file for ${dialect} takes its place`);
  }
  return left;
}

/** The files that lead to the next release, in the order of their versions. */
export function orderMigrations(paths: readonly string[]): string[] {
  return paths
    .filter((path) => /\.sql$/i.test(path))
    .map((path) => ({ path, version: versionOf(path), byText: runnerOfName(path) === "prisma" }))
    .sort((a, b) =>
      // Prisma compares the names of folders letter by letter.
      a.byText && b.byText ? Number(a.path > b.path) - Number(a.path < b.path) : compareVersions(a.version, b.version),
    )
    .map(({ path }) => path);
}

function versionOf(path: string): string {
  if (runnerOfName(path) !== "diesel") return path;
  return path
    .split(/([/\\])/)
    .map((part) => part.replace(DIESEL_VERSION, "$1$2$3$4"))
    .join("");
}
