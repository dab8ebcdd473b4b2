import { rename, rm, rmdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { codeOf, messageOf } from "../../model/types/errors";
import { ifThere, readIfThere, writeFileAtomic } from "../support/files";

const FILE = "record.json";
const CORRUPT = `${FILE}.corrupt-`;

const storedRecord = z.strictObject({
  version: z.literal(1),
  id: z.string(),
  argv: z.array(z.string()).min(1),
  cwd: z.string(),
  labels: z.record(z.string(), z.string()),
  startedAt: z.string(),
});

/** Record of a launch; written once, before it. No environment: it may hold secrets, and nothing needs it later. */
export type StoredRecord = z.infer<typeof storedRecord>;

/** Whether a folder holds a record. */
export async function hasRecord(folder: string): Promise<boolean> {
  return (await ifThere(stat(join(folder, FILE)))) !== undefined;
}

export type Reading = { record: StoredRecord } | { missing: true } | { corrupt: string; keptAs: string };

/** Durable when it resolves. */
export async function writeRecord(folder: string, record: StoredRecord): Promise<void> {
  await writeFileAtomic(join(folder, FILE), `${JSON.stringify(record, null, 2)}\n`);
}

/** A record that cannot be understood is kept aside under the name returned, so that its folder can be used again. */
export async function readRecord(folder: string, id: string, now: Date): Promise<Reading> {
  const text = await readIfThere(join(folder, FILE));
  if (text === undefined) return { missing: true };
  try {
    const record = storedRecord.parse(JSON.parse(text));
    if (record.id !== id) throw new Error(`it is the record of ${record.id}`);
    return { record };
  } catch (error) {
    const keptAs = join(folder, `${CORRUPT}${now.toISOString()}`);
    await rename(join(folder, FILE), keptAs);
    return { corrupt: messageOf(error), keptAs };
  }
}

/** Deletes the record, and the folder unless it holds anything else. */
export async function deleteRecord(folder: string): Promise<void> {
  await rm(join(folder, FILE), { force: true });
  try {
    await rmdir(folder);
  } catch (error) {
    if (codeOf(error) !== "ENOTEMPTY" && codeOf(error) !== "ENOENT") throw error;
  }
}

/** Whether the file is a record kept aside. */
export function isKeptAside(name: string): boolean {
  return name.startsWith(CORRUPT);
}
