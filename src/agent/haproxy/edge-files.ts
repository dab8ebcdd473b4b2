import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { SCRIPT_FILE } from "../mirror/script";
import { ifThere, makeFolder, readIfThere, writeFileAtomic } from "../support/files";
import { isCopied } from "./config/mirror";
import { type EdgeRecord, readRecord, writeRecord } from "./config/record";
import { type Rendered, waitingSocket } from "./config/render";
import { SPLITS_FILE, splitsText } from "./config/routes";
import type { HaproxyOptions } from "./options";
import type { Sockets } from "./runtime/worker-set";

/** Longest path of a Unix socket, and what HAProxy appends to it while it binds (`.<pid>.tmp`). */
const SOCKET_PATH_MAX = 107;
const SOCKET_SUFFIX = 12;

/** Path of the runtime API of an edge's HAProxy, in the edge's folder. */
export function runtimeSocket(directory: string): string {
  return join(directory, "worker.sock");
}

/** The files that HAProxy reads, as they are on disk; undefined where one is not there. */
export interface FilesOnDisk {
  disk: string | undefined;
  splitsOnDisk: string | undefined;
  scriptOnDisk: string | undefined;
}

async function isThere(path: string): Promise<boolean> {
  return (await ifThere(stat(path))) !== undefined;
}

/** Files of an edge's HAProxy, in the edge's folder: its config, sockets and record. */
export class EdgeFiles {
  readonly config: string;
  readonly sockets: Sockets;
  private readonly recordPath: string;
  private readonly splitsPath: string;
  private readonly scriptPath: string;
  private cached: { record: EdgeRecord | undefined } | undefined;

  constructor(private readonly options: Pick<HaproxyOptions, "name" | "directory" | "log">) {
    const { name, directory } = options;
    this.config = join(directory, "haproxy.cfg");
    this.recordPath = join(directory, "edge.json");
    this.splitsPath = join(directory, SPLITS_FILE);
    this.scriptPath = join(directory, SCRIPT_FILE);
    this.sockets = { worker: runtimeSocket(directory), master: join(directory, "master.sock") };
    const longest = Buffer.byteLength(this.sockets.worker) + SOCKET_SUFFIX;
    if (longest > SOCKET_PATH_MAX || directory.includes(","))
      throw new Error(
        `the folder ${directory} of edge ${name} cannot hold HAProxy's sockets: choose a state folder whose path has no comma and is ${longest - SOCKET_PATH_MAX} characters shorter`,
      );
  }

  async makeFolder(): Promise<void> {
    await makeFolder(this.options.directory, { above: 1 });
  }

  async read(): Promise<FilesOnDisk> {
    const paths = [this.config, this.splitsPath, this.scriptPath];
    const [disk, splitsOnDisk, scriptOnDisk] = await Promise.all(paths.map(readIfThere));
    return { disk, splitsOnDisk, scriptOnDisk };
  }

  /** Whether anything is missing that was written for what was applied last. */
  async isAnyMissing(): Promise<boolean> {
    const record = await this.record();
    if (record === undefined) return false;
    const paths = [
      this.config,
      this.recordPath,
      ...(splitsText(record.routes, record.backends) === undefined ? [] : [this.splitsPath]),
      ...(isCopied(record.routes) ? [this.scriptPath] : []),
    ];
    return (await Promise.all(paths.map(isThere))).includes(false);
  }

  /** Writes what is missing. @returns their paths */
  async restore(record: EdgeRecord, { text, splits, script }: Rendered): Promise<string[]> {
    await this.makeFolder();
    const contents: [path: string, content: string | undefined][] = [
      [this.scriptPath, script],
      [this.splitsPath, splits],
      [this.config, text],
    ];
    const restored: string[] = [];
    if (!(await isThere(this.recordPath))) {
      await writeRecord(this.recordPath, record);
      restored.push(this.recordPath);
    }
    for (const [path, content] of contents) {
      if (content === undefined || (await isThere(path))) continue;
      await writeFileAtomic(path, content, 0o600);
      restored.push(path);
    }
    return restored;
  }

  async record(): Promise<EdgeRecord | undefined> {
    this.cached ??= { record: await readRecord(this.recordPath, this.options.log) };
    return this.cached.record;
  }

  async save(record: EdgeRecord): Promise<void> {
    if (JSON.stringify(record) !== JSON.stringify(this.cached?.record) || !(await isThere(this.recordPath)))
      await writeRecord(this.recordPath, record);
    this.cached = { record };
  }

  /** Writes what differs from what is on disk: the files first that the config names. */
  async write(
    { text, splits, script }: Omit<Rendered, "structure" | "script"> & Partial<Pick<Rendered, "script">>,
    on: Partial<FilesOnDisk> = {},
  ): Promise<void> {
    if (script !== undefined && script !== on.scriptOnDisk) await writeFileAtomic(this.scriptPath, script, 0o600);
    if (splits !== undefined && splits !== on.splitsOnDisk) await writeFileAtomic(this.splitsPath, splits, 0o600);
    if (text !== on.disk) await writeFileAtomic(this.config, text, 0o600);
  }

  /** Restores the files of the running config after a failure. */
  async putBack(before: EdgeRecord | undefined, { disk, splitsOnDisk: splits }: FilesOnDisk): Promise<void> {
    if (before !== undefined) await this.save(before);
    if (disk !== undefined) await this.write({ text: disk, splits });
  }

  /** Tolerates absence. */
  async remove(): Promise<void> {
    const frontends = Object.keys((await this.record())?.spec.frontends ?? {});
    const waiting = frontends.map((_, index) => waitingSocket(this.sockets.worker, index));
    const { config, recordPath, splitsPath, scriptPath, sockets } = this;
    const files = [config, recordPath, splitsPath, scriptPath, sockets.worker, sockets.master, ...waiting];
    await Promise.all(files.map((file) => rm(file, { force: true })));
    this.cached = undefined;
  }
}
