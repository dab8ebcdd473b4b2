import { appendFile, readdir, rename, rm, stat, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { renderPage } from "../../evidence/page";
import { type EvidenceRecord, evidenceRecord } from "../../model/evidence/record";
import type { KeptFolder } from "../../model/evidence/retention";
import {
  ifThere,
  makeFolder,
  PRIVATE_FILE_MODE,
  readIfThere,
  removeTemporaries,
  writeFileAtomic,
} from "../support/files";
import { inParallel } from "../support/in-parallel";

/** Disk space below which no evidence is written, in bytes: more than transactions need, so that it never keeps one from opening. */
const LEAST_FREE = 8 * 1024 * 1024;
/** `20261121T160512.042Z-<transaction>`: their order is that of the beginnings. */
const NAME = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d\.\d{3})Z-([0-9a-f-]{36})$/;
const FILES = { log: "log.ndjson", newLog: "log.ndjson.new", record: "evidence.json", page: "index.html" };

const origin = evidenceRecord.pick({ target: true, program: true });
/** How many folders are looked at at once. */
const READ_AT_ONCE = 16;

/** The folders of evidence on disk, one per transaction. All of it may fail: then there is less evidence, and nothing else. */
export class EvidenceFolders {
  /** Complete folders, which do not change any more. */
  private readonly known = new Map<string, KeptFolder>();

  constructor(readonly directory: string) {}

  static nameOf({ id, begunAt }: Pick<EvidenceRecord, "id" | "begunAt">): string {
    return `${new Date(begunAt).toISOString().replace(/[-:]/g, "")}-${id}`;
  }

  pathOf(name: string): string {
    return join(this.directory, name);
  }

  /** Names, newest first. */
  async names(): Promise<string[]> {
    const names = (await ifThere(readdir(this.directory))) ?? [];
    return names
      .filter((name) => NAME.test(name))
      .toSorted()
      .toReversed();
  }

  async find(id: string): Promise<string | undefined> {
    return (await this.names()).find((name) => name.endsWith(`-${id}`));
  }

  /** Begins a log with its first line, in place of an existing one. */
  async begin(name: string, line: string): Promise<void> {
    await this.assertRoom();
    await makeFolder(this.pathOf(name));
    const temporary = join(this.pathOf(name), FILES.newLog);
    // Not flushed to the device, since it has to cost little: what a power cut takes, the journal still tells the end of.
    await writeFile(temporary, line, { mode: PRIVATE_FILE_MODE });
    await rename(temporary, join(this.pathOf(name), FILES.log));
  }

  async append(name: string, lines: string): Promise<void> {
    await this.assertRoom();
    await appendFile(join(this.pathOf(name), FILES.log), lines, { mode: PRIVATE_FILE_MODE });
  }

  /** The log of a transaction whose evidence is not complete. */
  async log(name: string): Promise<string | undefined> {
    return readIfThere(join(this.pathOf(name), FILES.log));
  }

  async isPublished(name: string): Promise<boolean> {
    return (await readdir(this.pathOf(name))).includes(FILES.record);
  }

  async read(name: string): Promise<EvidenceRecord | undefined> {
    const text = await readIfThere(join(this.pathOf(name), FILES.record));
    if (text === undefined) return undefined;
    return evidenceRecord.parse(JSON.parse(text));
  }

  /** Writes the record and its page. With `complete`, the log is not needed any more. */
  async publish(name: string, record: EvidenceRecord, { complete }: { complete: boolean }): Promise<void> {
    await this.assertRoom();
    const folder = this.pathOf(name);
    await makeFolder(folder);
    await writeFileAtomic(join(folder, FILES.record), `${JSON.stringify(record)}\n`);
    await writeFileAtomic(join(folder, FILES.page), renderPage(record));
    if (complete) for (const file of [FILES.log, FILES.newLog]) await rm(join(folder, file), { force: true });
  }

  /** Complete folders; `held` are those that are not. */
  async complete(held: ReadonlySet<string>): Promise<KeptFolder[]> {
    const names = (await this.names()).filter((name) => !held.has(name));
    return inParallel(names, READ_AT_ONCE, async (name) => {
      const folder = this.known.get(name) ?? (await this.lookAt(name));
      this.known.set(name, folder);
      return folder;
    });
  }

  private async lookAt(name: string): Promise<KeptFolder> {
    const [bytes, text] = await Promise.all([this.sizeOf(name), readIfThere(join(this.pathOf(name), FILES.record))]);
    return { name, begunAt: timeOf(name), bytes, update: updateIn(text ?? "") };
  }

  private async sizeOf(name: string): Promise<number> {
    const files = await readdir(this.pathOf(name));
    const sizes = await Promise.all(files.map(async (file) => (await stat(join(this.pathOf(name), file))).size));
    return sizes.reduce((sum, size) => sum + size, 0);
  }

  async remove(name: string): Promise<void> {
    this.known.delete(name);
    await rm(this.pathOf(name), { recursive: true, force: true });
  }

  /** Removes what an agent that was killed has left half written. */
  async sweep(): Promise<void> {
    for (const name of await this.names()) await removeTemporaries(this.pathOf(name));
  }

  private async assertRoom(): Promise<void> {
    await makeFolder(this.directory);
    const { bavail, bsize } = await statfs(this.directory);
    if (bavail * bsize >= LEAST_FREE) return;
    throw new Error(
      `its disk has ${Math.floor((bavail * bsize) / 1024)} KiB left: free at least ${LEAST_FREE / 1024 / 1024} MiB`,
    );
  }
}

/** The update that a record of a backend belongs to; nothing for other records, and those that can't be read. */
function updateIn(text: string): string | undefined {
  try {
    const { target, program } = origin.parse(JSON.parse(text));
    return target.startsWith("backend/") ? program?.update : undefined;
  } catch {
    return undefined;
  }
}

function timeOf(name: string): number {
  const [, year, month, day, hour, minute, second] = NAME.exec(name) ?? [];
  return Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
}
