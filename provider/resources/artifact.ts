import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { create } from "tar";
import type { AgentClient } from "../../agent/client/client";
import { entryProblem, MAX_ARCHIVE_BYTES, MAX_ENTRIES } from "../../model/artifact";
import type { Context } from "../server";

const GZIPPED = /\.(tar\.gz|tgz)$/;

/** Why a folder or archive of the deployer can't be sent to hosts; nothing where it can. */
export async function artifactProblem(path: string): Promise<string | undefined> {
  let facts: Awaited<ReturnType<typeof stat>>;
  try {
    facts = await stat(path);
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    return `${path} ${missing ? "does not exist here: build the release first" : `can't be read: ${(error as Error).message}`}`;
  }
  if (facts.isDirectory()) return undefined;
  if (!facts.isFile() || !GZIPPED.test(path)) return `${path} is neither a folder nor a .tar.gz: give one of them`;
  return facts.size > MAX_ARCHIVE_BYTES ? `${path} is larger than ${MAX_ARCHIVE_BYTES} bytes` : undefined;
}

/** Digest of what would be sent. */
export async function digestOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of await open(path)) hash.update(chunk);
  return hash.digest("hex");
}

/** Sends an artifact to a host that does not have it. */
export async function place(
  client: AgentClient,
  { path, digest }: { path: string; digest: string },
  { log, signal }: Pick<Context, "log" | "signal">,
): Promise<void> {
  if (await client.hasArtifact(digest)) return;
  log.progress(`placing ${path}`);
  await client.sendArtifact(digest, await open(path), signal);
  log.progress(`${path} is placed`);
}

/** The archive of a folder, the same bytes for the same content; or an archive as it is. */
async function open(path: string): Promise<AsyncIterable<Buffer>> {
  if (!(await stat(path)).isDirectory()) return createReadStream(path);
  const names = await namesIn(path);
  return create({ cwd: path, portable: true, noDirRecurse: true, mtime: new Date(0), preservePaths: false }, names);
}

/** Everything in a folder by name, in an order that depends on nothing else. */
async function namesIn(folder: string): Promise<string[]> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true });
  if (found.length > MAX_ENTRIES)
    throw new Error(`${folder} holds more than ${MAX_ENTRIES} files: leave out what hosts do not need`);
  if (found.length === 0) throw new Error(`${folder} is empty: build the release first`);
  const names = found.flatMap((entry) => {
    if (!entry.isFile() && !entry.isDirectory() && !entry.isSymbolicLink()) return [];
    const name = join(entry.parentPath, entry.name).slice(folder.replace(/\/+$/, "").length + 1);
    const problem = entryProblem({ type: "File", path: name });
    if (problem !== undefined) throw new Error(`${folder}: ${problem}`);
    // Without it, a name that begins with "@" would be taken for an archive.
    return [`./${name}`];
  });
  return names.toSorted((a, b) => (a < b ? -1 : 1));
}
