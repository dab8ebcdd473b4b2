import { execFile } from "node:child_process";
import { realpath } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { type MigrationFile, migrationName, STANDARD_INPUT } from "../../migrations";
import { findMigration } from "../../model/policy/migration-set";
import { messageOf } from "../../model/types/errors";
import { UsageError } from "../common/exit";

const run = promisify(execFile);
const MAX_OUTPUT = 64 * 1024 * 1024;

/**
 * Files that a branch neither adds nor changes since it left a revision, as git knows them, with what is not committed yet.
 *
 * @throws UsageError where git does not know the revision, or the files are in no repository
 */
export async function unchangedSince(files: readonly MigrationFile[], revision: string): Promise<Set<string>> {
  const folders = new Set(files.filter((file) => file.path !== STANDARD_INPUT).map((file) => path.dirname(file.path)));
  const changed = new Set<string>();
  const known = new Map<string, Set<string>>();
  for (const folder of folders) {
    const root = (await git(folder, "rev-parse", "--show-toplevel")).trim();
    const before = known.get(root) ?? (await changedIn(root, revision));
    known.set(root, before);
    for (const file of before) changed.add(file);
  }
  const unchanged = new Set<string>();
  for (const file of files)
    if (file.path !== STANDARD_INPUT && !changed.has(await realpath(file.path))) unchanged.add(file.path);
  return unchanged;
}

async function changedIn(root: string, revision: string): Promise<Set<string>> {
  const from = (await git(root, "merge-base", revision, "HEAD")).trim();
  const tracked = await git(root, "diff", "--name-only", "--diff-filter=d", "-z", from, "--");
  const untracked = await git(root, "ls-files", "--others", "--exclude-standard", "-z");
  return new Set(
    `${tracked}${untracked}`
      .split("\0")
      .filter((name) => name !== "")
      .map((name) => path.join(root, name)),
  );
}

async function git(folder: string, ...args: string[]): Promise<string> {
  try {
    return (await run("git", ["-C", folder, ...args], { maxBuffer: MAX_OUTPUT })).stdout;
  } catch (error) {
    const { stderr = "" } = error as { stderr?: string };
    const [first = ""] = (stderr || messageOf(error)).split("\n");
    throw new UsageError([`--since: git ${args[0]} in ${folder}: ${first}`]);
  }
}

/**
 * Files up to the one that a version or name means.
 *
 * @throws UsageError where it means none, or more than one
 */
export function appliedUpTo(files: readonly MigrationFile[], version: string): Set<string> {
  const last = indexOf(files, version, "--applied");
  return new Set(files.slice(0, last + 1).map(({ path: file }) => file));
}

/**
 * The files that versions or names mean.
 *
 * @throws UsageError where one means none, or more than one
 */
export function filesOf(files: readonly MigrationFile[], versions: readonly string[]): Set<string> {
  return new Set(versions.map((version) => files[indexOf(files, version, "--contract")]?.path ?? ""));
}

function indexOf(files: readonly MigrationFile[], version: string, option: string): number {
  const names = files.map(({ path: file }) => migrationName(file));
  const name = findMigration(names, version);
  if (name === undefined)
    throw new UsageError([`${option} ${version}: no file, or more than one, has this version or name`]);
  return names.indexOf(name);
}
