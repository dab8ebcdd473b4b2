import { mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Deletes a folder at once, also where an agent writes to it meanwhile. */
export async function deleteFolder(path: string): Promise<void> {
  const aside = await mkdtemp(join(tmpdir(), "sl-"));
  await rename(path, join(aside, "folder"));
  await rm(aside, { recursive: true });
}
