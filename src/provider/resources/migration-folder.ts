import { isUtf8 } from "node:buffer";
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { orderMigrations, settingsFile, undoes } from "../../migrations";

export interface MigrationText {
  /** Name of its file. */
  id: string;
  sql: string;
  /** Text of the file in which its runner has settings for it. */
  settings?: string;
  /** SHA-256 of the file, in hexadecimal digits. */
  hash: string;
}

/** The migrations of a folder that lead forward, in their order. @throws Error where one can't be read, or would be overlooked */
export async function readMigrationFolder(folder: string): Promise<MigrationText[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  const files = entries.filter((entry) => !entry.isDirectory() && /\.sql$/i.test(entry.name));
  const deeper = files.find(({ parentPath }) => parentPath !== folder);
  if (deeper !== undefined)
    throw new Error(
      `${join(deeper.parentPath, deeper.name)} is in a folder of its own: put all migrations beside each other`,
    );
  const ids = orderMigrations(files.map(({ name }) => name)).filter((id) => !undoes(id));
  return Promise.all(
    ids.map(async (id) => {
      const content = await readFile(join(folder, id));
      if (!isUtf8(content)) throw new Error(`${join(folder, id)} is not UTF-8: convert it first`);
      const hash = createHash("sha256").update(content).digest("hex");
      const beside = settingsFile(id);
      const isThere = beside !== undefined && entries.some(({ name }) => name === beside);
      return {
        id,
        sql: content.toString("utf8"),
        hash,
        ...(isThere && { settings: await readFile(join(folder, beside), "utf8") }),
      };
    }),
  );
}
