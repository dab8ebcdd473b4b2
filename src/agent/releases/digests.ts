import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, readdir, readlink } from "node:fs/promises";
import { join, relative } from "node:path";
import { z } from "zod";
import { ifThere } from "../support/files";

/** Permissions and digest of each file of a release, and target of each symbolic link, by path within it. */
export const digests = z.record(z.string(), z.string());
type Digests = z.output<typeof digests>;

export async function digestsOf(folder: string): Promise<Digests> {
  const found: Digests = {};
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile() || entry.isSymbolicLink()) found[relative(folder, path)] = await digestOf(path);
  }
  return found;
}

/** Paths whose content, permissions or target are not the known ones, in order; what was added, such as a cache, is none. */
export async function changedIn(folder: string, known: Digests): Promise<string[]> {
  const changed: string[] = [];
  for (const [path, digest] of Object.entries(known))
    if ((await ifThere(digestOf(join(folder, path)))) !== digest) changed.push(path);
  return changed.toSorted();
}

async function digestOf(path: string): Promise<string> {
  const facts = await lstat(path);
  if (facts.isSymbolicLink()) return `link ${await readlink(path)}`;
  if (!facts.isFile()) return "neither a file nor a link";
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return `${(facts.mode & 0o777).toString(8)} ${hash.digest("hex")}`;
}
