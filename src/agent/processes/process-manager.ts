import { EventEmitter } from "node:events";
import { type FSWatcher, watch } from "node:fs";
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { waitFor } from "../../support/waiting";
import { ifThere, makeFolder, PRIVATE_FOLDER_MODE } from "../support/files";
import { inParallel } from "../support/in-parallel";
import { type Found, findIn } from "./adopt";
import { Cgroups } from "./cgroups";
import { KILL_DEADLINE_MS, killMarked } from "./group";
import { commandOf, findMarked, instanceOf, isAlive, type Marked, readBootId, signalProcess } from "./identity";
import { launchShim, type ProcessSpec } from "./launch";
import { ManagedProcess, type StopOptions } from "./managed";
import { tailOf } from "./output/output";
import { OutputTruncator } from "./output/output-truncator";
import { putAside } from "./output/rotation";
import { Rotations } from "./output/rotations";
import type { ProcessEvent, ProcessRecord } from "./process-record";
import { deleteRecord, hasRecord, isKeptAside, writeRecord } from "./record";
import { restoreStatus } from "./status";

export type { ProcessSpec } from "./launch";
export type { StopOptions } from "./managed";
export type { ProcessEvent, ProcessRecord } from "./process-record";

/** How often processes are looked at whose shim may have been killed with them, in milliseconds. */
const SWEEP_MS = 2000;
const POLL_MS = 10;
/** How many folders are read at once when a process host opens. */
const READ_AT_ONCE = 16;
const COMMAND_CHARACTERS = 200;
const ID = /^[a-z0-9][a-z0-9.@_-]{0,119}$/;
const MARKER = /^[A-Za-z0-9._:-]{1,128}$/;
/** Folder of the status files, watched as a whole; no id starts with a dot. */
const STATUS_FOLDER = ".status";

export interface Orphan extends Marked {
  /** The command line, cut after 200 characters. */
  command: string;
}

/**
 * Runs processes that outlive the agent. Each has a shim (`/bin/sh`) that records its pid and exit code, so that the next
 * agent adopts it, or learns how it ended. No policy: what exits stays exited.
 *
 * When an app exits, its record is `exited` at once; what it left behind in its process group gets SIGTERM, and SIGKILL a
 * second later. What has left the group is killed by `stop`, and otherwise listed by `orphans`.
 */
export class ProcessManager {
  private readonly processes = new Map<string, ManagedProcess>();
  private readonly emitter = new EventEmitter().setMaxListeners(0);
  private readonly sweeper: NodeJS.Timeout;
  private watcher: FSWatcher | undefined;
  /** Of the processes' outputs. */
  readonly rotations = new Rotations();
  private readonly truncator: OutputTruncator;
  private readonly cgroups: Cgroups;
  /** Ids whose record could not be read: something of theirs may run. */
  private readonly unrecorded = new Set<string>();
  /** Ids of processes whose output was deleted. */
  private readonly outputsLost = new Set<string>();
  private closed = false;

  private constructor(
    private readonly directory: string,
    private readonly marker: string,
    private readonly bootId: string,
    private readonly report: (event: ProcessEvent) => void,
  ) {
    this.watcher = this.watchStatuses();
    this.cgroups = new Cgroups(marker);
    this.truncator = new OutputTruncator(directory, report);
    this.sweeper = setInterval(() => {
      for (const managed of this.processes.values()) managed.check();
    }, SWEEP_MS).unref();
  }

  /**
   * Opens the folder, creating it if it is missing, and adopts what earlier agents have launched. Exits that happened
   * meanwhile are in the records, not in `exit` events. One process host per folder at a time.
   *
   * @param o.marker the agent's id, by which its processes are found again
   */
  static async open(o: {
    directory: string;
    marker: string;
    onEvent?: (event: ProcessEvent) => void;
  }): Promise<ProcessManager> {
    if (!MARKER.test(o.marker)) throw new Error(`marker ${JSON.stringify(o.marker)} does not match ${MARKER.source}`);
    await mkdir(join(o.directory, STATUS_FOLDER), { recursive: true, mode: PRIVATE_FOLDER_MODE });
    const host = new ProcessManager(o.directory, o.marker, await readBootId(), o.onEvent ?? (() => undefined));
    try {
      const folders = (await readdir(o.directory, { withFileTypes: true })).filter((found) => found.isDirectory());
      const ids = folders.flatMap(({ name: id }) => (ID.test(id) ? [id] : []));
      const marked = () => findMarked(o.marker);
      const found = await inParallel(ids, READ_AT_ONCE, (id) => host.findIn(id, marked));
      for (const each of found) if (each !== undefined) host.adopt(each);
      await host.cgroups.sweep((id) => host.processes.has(id));
    } catch (error) {
      host.close();
      throw error;
    }
    return host;
  }

  list(): ProcessRecord[] {
    return [...this.processes.values()].map(({ record }) => record);
  }

  get(id: string): ProcessRecord | undefined {
    return this.processes.get(id)?.record;
  }

  /** `exit` comes once for each process that was seen running, before anything of it is cleared away. */
  on(event: "exit", listener: (record: ProcessRecord) => void): this {
    this.emitter.on(event, listener);
    return this;
  }

  off(event: "exit", listener: (record: ProcessRecord) => void): this {
    this.emitter.off(event, listener);
    return this;
  }

  /**
   * Resolves once the program is executing; it may have exited already, which the record then says.
   *
   * @throws when the id is malformed or in use, or the program cannot be executed; nothing is then left of the launch
   */
  async launch(id: string, spec: ProcessSpec): Promise<ProcessRecord> {
    const folder = this.folderOf(id);
    const used = this.get(id);
    if (used !== undefined)
      throw new Error(`process id ${id} is in use by a process that is ${used.state}; stop and remove it first`);
    const { argv, cwd, labels } = structuredClone({ argv: spec.argv, cwd: spec.cwd, labels: spec.labels });
    const description = { id, argv, cwd, labels, startedAt: new Date().toISOString() };
    const managed = this.manage({ ...description, state: "starting", adopted: false });
    const launching = launchShim({
      record: { version: 1, ...description },
      spec,
      marker: this.marker,
      bootId: this.bootId,
      folder,
      statusPath: this.statusPathOf(id),
      outputPath: this.outputPath(id),
      cgroups: this.cgroups,
      report: this.report,
      clear: () => this.endUnrecorded(id),
      onShimExit: () => void managed.shimEnded(),
    });
    managed.launchedBy(launching);
    try {
      managed.started(await launching);
    } catch (error) {
      this.processes.delete(id);
      throw error;
    }
    managed.check();
    return managed.record;
  }

  /**
   * Signals the app, and after `graceMs` kills its whole group; then kills whatever carries the marker for this id.
   * Resolves when nothing is left. Of a process that has exited it is a check. Concurrent stops join the first one.
   *
   * @throws when there is no such process, it failed to start, or processes survive SIGKILL
   */
  async stop(id: string, options: StopOptions): Promise<ProcessRecord> {
    const record = await this.managedOf(id).stop(options);
    // A process that left its process group, and overwrote its environment, can't leave the cgroup.
    await this.cgroups.kill(id);
    return record;
  }

  /** Why what a process has started may outlive its stop; undefined if it can't, see {@link Cgroups.trackingProblem}. */
  trackingProblem(): Promise<string | undefined> {
    return this.cgroups.trackingProblem();
  }

  /** Signals a process, if it still runs. @returns whether it did */
  signal(id: string, signal: NodeJS.Signals): boolean {
    return this.processes.get(id)?.signal(signal) ?? false;
  }

  /**
   * Forgets an exited process and deletes its folder.
   *
   * @param o.keepOutput how many files of older output stay for the next one with this id. @default 0
   * @throws when there is no such process, or it has not exited
   */
  async remove(id: string, { keepOutput = 0 }: { keepOutput?: number } = {}): Promise<void> {
    const managed = this.managedOf(id);
    await managed.settled();
    const { state } = managed.record;
    if (state !== "exited") throw new Error(`process ${id} is ${state}; stop it before removing it`);
    await this.cgroups.remove(id);
    // In this order: what a kill in between leaves is a record, which the next agent finds and removes.
    await rm(this.statusPathOf(id), { force: true });
    if (keepOutput === 0) {
      await rm(this.folderOf(id), { recursive: true, force: true });
      this.rotations.forget(this.outputPath(id));
    } else {
      const path = this.outputPath(id);
      await this.rotations.during(path, async () => {
        await putAside(path, keepOutput);
        return 0;
      });
      await deleteRecord(this.folderOf(id));
    }
    this.processes.delete(id);
  }

  /** The last lines of standard output and standard error, as they came; see `tailOf` for the bounds. */
  async tail(id: string, { lines }: { lines: number }): Promise<string[]> {
    return tailOf(this.outputPath(id), lines);
  }

  /**
   * Sees to it that outputs stay bounded after this agent's end, too, until the next one looks after them.
   *
   * @param bytes size above which an output is cut to its end then
   */
  boundOutputs(bytes: number): void {
    if (!this.closed && this.processes.size > 0) this.truncator.setLimit(bytes);
  }

  outputPath(id: string): string {
    return join(this.folderOf(id), "output.log");
  }

  /** Live processes that carry the marker, but whose record is missing or exited. Reads the whole of /proc. */
  async orphans(): Promise<Orphan[]> {
    const isOrphan = ({ id }: Marked) => (this.get(id)?.state ?? "exited") === "exited";
    const found = (await findMarked(this.marker)).filter(isOrphan);
    return Promise.all(
      found.map(async (orphan) => ({ ...orphan, command: (await commandOf(orphan.pid)).slice(0, COMMAND_CHARACTERS) })),
    );
  }

  /** Whether a process carries the marker. */
  owns(pid: number): boolean {
    return instanceOf(pid, this.marker) !== undefined;
  }

  /** Kills one process that carries the marker, an orphan for instance; if it is gone already, nothing is done. */
  async kill(pid: number, startTime: string): Promise<void> {
    const identity = { pid, startTime };
    if (!isAlive(identity)) return;
    if (!this.owns(pid) && isAlive(identity))
      throw new Error(`process ${pid} was not started by agent ${this.marker}; it is left alone`);
    signalProcess(identity, "SIGKILL");
    if (!(await waitFor(() => !isAlive(identity), { everyMs: POLL_MS, deadlineMs: KILL_DEADLINE_MS })))
      throw new Error(`process ${pid} survives SIGKILL: it waits for a disk or a device`);
  }

  /**
   * Writes again what was deleted and the next agent needs to adopt what runs. Nothing brings an output back.
   *
   * @returns what that was, in one sentence each
   */
  async restoreFiles(): Promise<string[]> {
    const restored: string[] = [];
    const statuses = join(this.directory, STATUS_FOLDER);
    if ((await ifThere(stat(statuses))) === undefined) {
      await makeFolder(statuses, { above: 1 });
      this.watcher?.close();
      this.watcher = this.watchStatuses();
      restored.push(`${statuses} was deleted, and is there again`);
    }
    for (const managed of this.processes.values()) restored.push(...(await this.restoreFilesOf(managed)));
    return restored;
  }

  private async restoreFilesOf(managed: ManagedProcess): Promise<string[]> {
    const { id } = managed;
    const [folder, statusPath] = [this.folderOf(id), this.statusPathOf(id)];
    const restored: string[] = [];
    // It may be launched, end or be removed during each look.
    const runs = () => this.processes.get(id) === managed && managed.identities !== undefined;
    if (runs() && !(await hasRecord(folder)) && runs()) {
      const { argv, cwd, labels, startedAt } = managed.record;
      await makeFolder(folder, { above: 1 });
      await writeRecord(folder, { version: 1, id, argv, cwd, labels, startedAt });
      restored.push(`the record of process ${id} was deleted, and is written again`);
    }
    if (runs() && (await ifThere(stat(statusPath))) === undefined && managed.identities !== undefined && runs()) {
      await restoreStatus(statusPath, this.bootId, managed.identities);
      restored.push(`the status of process ${id} was deleted, and is written again: its exit code will be unknown`);
    }
    const isLost = runs() && (await ifThere(stat(this.outputPath(id)))) === undefined && runs();
    if (isLost && !this.outputsLost.has(id))
      restored.push(`the output of process ${id} was deleted: what it writes is lost`);
    if (isLost) this.outputsLost.add(id);
    else this.outputsLost.delete(id);
    return restored;
  }

  /** Whether what a process writes is lost, since its file was deleted. */
  isOutputLost(id: string): boolean {
    return this.outputsLost.has(id);
  }

  /** Stops watching; the processes run on. */
  close(): void {
    this.closed = true;
    this.watcher?.close();
    clearInterval(this.sweeper);
    this.truncator.close();
  }

  private async findIn(id: string, marked: () => Promise<readonly Marked[]>): Promise<Found | undefined> {
    const folder = this.folderOf(id);
    const { bootId, report } = this;
    const found = await findIn({ id, folder, statusPath: this.statusPathOf(id), marked, bootId, report });
    if (found === undefined && (await readdir(folder).catch(() => [])).some(isKeptAside)) this.unrecorded.add(id);
    return found;
  }

  private adopt(found: Found): void {
    const { version: _, ...description } = found.record;
    const managed = this.manage({ ...description, state: "starting", adopted: true });
    managed.found(found);
    const { id, state, pid, group } = managed.record;
    if (state === "running") this.report({ message: `process ${id} is adopted`, data: { id, pid, group } });
  }

  /** Ends what a lost record has left running, which must not run beside what is launched under its id. */
  private async endUnrecorded(id: string): Promise<void> {
    if (!this.unrecorded.has(id)) return;
    const pids = await killMarked(this.marker, id);
    this.unrecorded.delete(id);
    if (pids.length > 0)
      this.report({
        message: `what ran of ${id} without a record was ended before it is started again`,
        data: { id, pids },
      });
  }

  private manage(record: ProcessRecord): ManagedProcess {
    const managed = new ManagedProcess(record, {
      marker: this.marker,
      statusPath: this.statusPathOf(record.id),
      report: this.report,
      onExit: (exited) => this.emitter.emit("exit", exited),
      closed: () => this.closed,
    });
    this.processes.set(record.id, managed);
    return managed;
  }

  private watchStatuses(): FSWatcher | undefined {
    const failed = (error: unknown) => {
      this.watcher?.close();
      const message = `exits are seen up to ${SWEEP_MS} ms late: the folder of status files cannot be watched`;
      this.report({ message, data: { problem: String(error) } });
    };
    try {
      return watch(join(this.directory, STATUS_FOLDER), { persistent: false }, (_, id) => {
        if (id !== null) this.processes.get(id)?.check();
      }).on("error", failed);
    } catch (error) {
      failed(error);
      return undefined;
    }
  }

  private managedOf(id: string): ManagedProcess {
    const managed = this.processes.get(id);
    if (managed === undefined) throw new Error(`there is no process ${JSON.stringify(id)} on record`);
    return managed;
  }

  private folderOf(id: string): string {
    if (!ID.test(id)) throw new Error(`process id ${JSON.stringify(id)} does not match ${ID.source}`);
    return join(this.directory, id);
  }

  private statusPathOf(id: string): string {
    return join(this.directory, STATUS_FOLDER, id);
  }
}
