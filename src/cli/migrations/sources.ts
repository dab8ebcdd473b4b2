import { isUtf8 } from "node:buffer";
import { readdir, readFile, stat } from "node:fs/promises";
import path from "node:path";
import { buffer } from "node:stream/consumers";
import { type MigrationFile, orderMigrations, STANDARD_INPUT, settingsFile, undoes } from "../../migrations";
import { UsageError } from "../common/exit";

type Input = AsyncIterable<Uint8Array>;

const READ_AT_ONCE = 32;

/** The migrations that paths name, in their order; all that is wrong with the paths is said at once. */
export async function readMigrations(paths: readonly string[], stdin: Input): Promise<MigrationFile[]> {
  const problems: string[] = [];
  const found: string[] = [];
  for (const given of paths) {
    try {
      const isFolder = given !== STANDARD_INPUT && (await stat(given)).isDirectory();
      const migrations = isFolder ? await migrationsIn(given) : [given];
      if (migrations.length === 0) problems.push(`${given}: no migrations (*.sql) are in this folder`);
      found.push(...migrations);
    } catch (error) {
      problems.push(`${given}: ${reason(error)}`);
    }
  }
  const files: MigrationFile[] = [];
  for (let at = 0; at < found.length; at += READ_AT_ONCE) {
    const some = await Promise.allSettled(found.slice(at, at + READ_AT_ONCE).map((file) => readMigration(file, stdin)));
    for (const read of some)
      if (read.status === "fulfilled") files.push(read.value);
      else problems.push(read.reason instanceof Error ? read.reason.message : String(read.reason));
  }
  if (problems.length > 0) throw new UsageError(problems);
  return files;
}

export async function readSchema(file: string, stdin: Input): Promise<string> {
  try {
    return (await readMigration(file, stdin)).sql;
  } catch (error) {
    throw new UsageError([`--schema: ${(error as Error).message}`]);
  }
}

async function migrationsIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)));
  return orderMigrations(files)
    .filter((file) => !undoes(file))
    .map((file) => path.join(folder, file));
}

async function readMigration(file: string, stdin: Input): Promise<MigrationFile> {
  let content: Buffer;
  try {
    content = file === STANDARD_INPUT ? await buffer(stdin) : await readFile(file);
  } catch (error) {
    throw new Error(`${file}: ${reason(error)}`, { cause: error });
  }
  if (!isUtf8(content)) throw new Error(`${file}: it is not UTF-8; convert it first`);
  const settings = await readSettings(file);
  return { path: file, sql: content.toString("utf8"), ...(settings !== undefined && { settings }) };
}

async function readSettings(file: string): Promise<string | undefined> {
  const beside = settingsFile(file);
  if (beside === undefined) return undefined;
  try {
    return await readFile(beside, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new Error(`${beside}: ${reason(error)}`, { cause: error });
  }
}

function reason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code === "ENOENT" ? "there is no such file or folder" : message;
}
