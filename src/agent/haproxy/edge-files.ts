import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { SCRIPT_FILE } from "../mirror/script";
import { PRIVATE_FOLDER_MODE, writeFileAtomic } from "../support/files";
import { readConfig } from "./config/config-file";
import { type EdgeRecord, readRecord, writeRecord } from "./config/record";
import { type Rendered, waitingSocket } from "./config/render";
import { SPLITS_FILE } from "./config/routes";
import type { HaproxyOptions } from "./options";
import type { Sockets } from "./runtime/worker-set";

/** Longest path of a Unix socket, and what HAProxy appends to it while it binds (`.<pid>.tmp`). */
const SOCKET_PATH_MAX = 107;
const SOCKET_SUFFIX = 12;

/** Path of the runtime API of an edge's HAProxy, in the edge's folder. */
export function runtimeSocket(directory: string): string {
  return join(directory, "worker.sock");
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
    await mkdir(this.options.directory, { recursive: true, mode: PRIVATE_FOLDER_MODE });
  }

  /** The config and the splits as they are on disk now. */
  async read(): Promise<{ disk: string | undefined; splitsOnDisk: string | undefined }> {
    const [disk, splitsOnDisk] = await Promise.all([readConfig(this.config), readConfig(this.splitsPath)]);
    return { disk, splitsOnDisk };
  }

  async record(): Promise<EdgeRecord | undefined> {
    this.cached ??= { record: await readRecord(this.recordPath, this.options.log) };
    return this.cached.record;
  }

  async save(record: EdgeRecord): Promise<void> {
    if (JSON.stringify(record) !== JSON.stringify(this.cached?.record)) await writeRecord(this.recordPath, record);
    this.cached = { record };
  }

  /** Writes what differs from what is on disk: the files first that the config names. */
  async write(
    { text, splits, script }: Omit<Rendered, "structure" | "script"> & Partial<Pick<Rendered, "script">>,
    on: { disk?: string | undefined; splitsOnDisk?: string | undefined } = {},
  ): Promise<void> {
    if (script !== undefined && text !== on.disk) await writeFileAtomic(this.scriptPath, script, 0o600);
    if (splits !== undefined && splits !== on.splitsOnDisk) await writeFileAtomic(this.splitsPath, splits, 0o600);
    if (text !== on.disk) await writeFileAtomic(this.config, text, 0o600);
  }

  /** After a failure: what is on disk is again what runs. */
  async putBack(before: EdgeRecord | undefined, disk: string | undefined, splits: string | undefined): Promise<void> {
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
