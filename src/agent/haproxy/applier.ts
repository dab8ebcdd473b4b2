import { collide, type EdgeSpec, type Listener, listensOn } from "../../model/edge/edge";
import type { EdgeBackend } from "../../model/pool/pool-share";
import type { RouteSpec } from "../../model/route/route";
import { waitFor } from "../../support/waiting";
import { type ApplyPlan, planApply, withUnknown } from "./apply-plan";
import { certificateDigests, validateText } from "./config/config-file";
import { hostFacts } from "./config/host-facts";
import { assertFree } from "./config/ports";
import type { EdgeRecord } from "./config/record";
import { type Rendered, render, socketSpellings } from "./config/render";
import { complaints } from "./config/validate";
import { haproxyVersion } from "./config/version";
import { corrections } from "./corrections";
import type { EdgeFiles, FilesOnDisk } from "./edge-files";
import { idleOf, type Observer, UP_DEADLINE_MS, UP_PAUSE_MS } from "./observer";
import type { HaproxyOptions } from "./options";
import { lostSockets, SocketsLost } from "./runtime/lost-sockets";
import { reload, showProcesses } from "./runtime/master";
import { assertNoForeign, endOrphanWorkers } from "./runtime/orphan-workers";
import { ask, change } from "./runtime/runtime-api";
import { assignServers, type ServerAssignments } from "./runtime/server-assignments";
import { workerInfo } from "./runtime/snapshot";
import type { WorkerSet } from "./runtime/worker-set";

/** Time that an ended predecessor may still hold the edge's ports, in milliseconds. */
const PORT_WAIT_MS = 2000;
/** Rounds of mending until something that keeps coming back is an error. */
const CORRECTION_ROUNDS = 3;
const TAIL_LINES = 200;

export interface WantedConfig {
  spec: EdgeSpec;
  backends: Record<string, EdgeBackend>;
  routes: Record<string, RouteSpec>;
  /** Addresses on which somebody listens who shares them. */
  shared?: readonly SocketAddress[];
}

export type SocketAddress = Pick<Listener, "address" | "port">;

interface PlannedApply extends ApplyPlan {
  workers: WorkerSet | undefined;
  before: EdgeRecord | undefined;
  record: EdgeRecord;
  rendered: Rendered;
  files: FilesOnDisk;
}

const NOBODY: ServerAssignments = { placed: [], leaving: [] };

/** Drives an edge's HAProxy to what is wanted: starts it, reloads it, or changes it by the runtime API. */
export class Applier {
  /** @param id of HAProxy among the processes */
  constructor(
    private readonly id: string,
    private readonly files: EdgeFiles,
    private readonly observer: Observer,
    private readonly options: HaproxyOptions,
  ) {}

  /** Plans an `apply` and its inputs. */
  async planFor({ spec, backends, routes }: WantedConfig): Promise<PlannedApply> {
    const [before, workers, files, certificates, host] = await Promise.all([
      this.files.record(),
      this.observer.workers(),
      this.files.read(),
      certificateDigests(spec),
      hostFacts(),
    ]);
    const assignments = withUnknown(assignServers(backends, before ?? NOBODY, Date.now()), backends, workers);
    const rendered = render({
      name: this.options.name,
      spec,
      backends,
      placed: assignments.placed,
      routes,
      socket: socketSpellings(this.files.sockets.worker, files.disk)[0],
      host,
      mirror: this.options.mirror,
      certificates,
    });
    const record: EdgeRecord = {
      version: 1,
      spec,
      backends,
      routes,
      ...assignments,
      oldIdleMs: before?.oldIdleMs ?? 0,
    };
    const plan = planApply({ before, workers, record, rendered, ...files, certificates });
    return { ...plan, workers, before, record, rendered, files };
  }

  /**
   * Drives HAProxy to what is wanted: the files on disk first, then what runs.
   *
   * @returns what was done, and whether servers leave
   */
  async apply(wanted: WantedConfig): Promise<ApplyPlan & { drains: boolean }> {
    const { name, log } = this.options;
    await this.files.makeFolder();
    const target = await this.planFor(wanted).catch(async (error: unknown) => {
      if (!(error instanceof SocketsLost)) throw error;
      await this.bindAgain(wanted, error);
      return this.planFor(wanted);
    });
    const { how, reasons } = target;
    const isOwn = (listener: SocketAddress) => !(wanted.shared ?? []).some((other) => collide(listener, other));
    if (how === "start") await this.start(target, isOwn);
    else if (how === "reload") await this.reload(target, isOwn);
    else {
      await this.files.save(target.record);
      await this.files.write(target.rendered, target.files);
    }
    if (how !== "nothing") {
      await this.correct();
      log(`edge ${name}: ${how}`, { reasons });
    }
    return { how, reasons, drains: target.record.leaving.length > 0 };
  }

  private async start(
    { record, rendered, files, before }: PlannedApply,
    isOwn: (listener: SocketAddress) => boolean,
  ): Promise<void> {
    const { binary, name, processes, log } = this.options;
    await haproxyVersion(binary);
    await validateText(binary, rendered);
    const owns = (pid: number) => processes.owns(pid);
    await assertNoForeign(this.files.config, owns);
    const orphans = await endOrphanWorkers(this.files.config, owns);
    if (orphans.length > 0) log(`edge ${name}: leftover processes of an earlier HAProxy are killed`, { pids: orphans });
    await assertFree(listensOn(record.spec).filter(isOwn), { waitMs: PORT_WAIT_MS });
    await this.files.save({ ...record, leaving: [], oldIdleMs: 0 });
    await this.files.write(rendered);
    if (processes.get(this.id) !== undefined) await processes.remove(this.id);
    await processes.launch(this.id, {
      argv: [binary, "-W", "-S", `${this.files.sockets.master},mode,600,level,admin`, "-f", this.files.config],
      // It can't reload without its working folder, and the edge's may be deleted.
      cwd: "/",
      env: { PATH: process.env.PATH ?? "/usr/sbin:/usr/bin:/sbin:/bin" },
      labels: { edge: name },
    });
    try {
      await this.untilWorkerRuns(rendered.structure);
    } catch (error) {
      const reported = complaints((await processes.tail(this.id, { lines: TAIL_LINES })).join("\n"));
      await processes.stop(this.id, { signal: "SIGTERM", graceMs: 0 });
      await processes.remove(this.id);
      await this.files.putBack(before, files);
      throw new Error(`HAProxy of edge ${name} did not start: ${reported || (error as Error).message}`, {
        cause: error,
      });
    }
  }

  private async reload(
    { record, rendered, files, before, workers }: PlannedApply,
    isOwn: (listener: SocketAddress) => boolean,
  ): Promise<void> {
    const { binary, name, processes, log } = this.options;
    await validateText(binary, rendered);
    const had = before === undefined ? undefined : listensOn(before.spec);
    const added = listensOn(record.spec).filter((listener) => had?.every((other) => !collide(listener, other)));
    await assertFree(added.filter(isOwn));
    const oldIdleMs = Math.max(
      before === undefined ? 0 : idleOf(before.spec),
      workers !== undefined && workers.old.length > 0 ? (before?.oldIdleMs ?? 0) : 0,
    );
    await this.files.save({ ...record, oldIdleMs });
    await this.files.write(rendered);
    try {
      const { worker } = await reload(this.files.sockets.master, () => processes.tail(this.id, { lines: TAIL_LINES }));
      await this.untilWorkerRuns(rendered.structure, worker?.pid);
    } catch (error) {
      await this.files.putBack(before, files);
      log(`edge ${name}: the reload failed, the config before it goes on`, { error: (error as Error).message });
      throw error;
    }
  }

  /** Writes files again that were deleted, as they were applied last; what runs is not touched. @returns what was done, in one sentence each */
  async restoreFiles(): Promise<string[]> {
    const record = await this.files.record();
    if (record === undefined) return [];
    const { disk } = await this.files.read();
    const rendered = await this.renderApplied(record, socketSpellings(this.files.sockets.worker, disk)[0]);
    const restored = await this.files.restore(record, rendered);
    return restored.map((path) => `${path} was deleted, and is written again`);
  }

  /** The config of what was applied. */
  private async renderApplied(
    applied: Pick<EdgeRecord, "spec" | "backends" | "routes" | "placed">,
    socket: string,
  ): Promise<Rendered> {
    const { name, mirror } = this.options;
    const [certificates, host] = await Promise.all([certificateDigests(applied.spec), hostFacts()]);
    return render({ ...applied, name, socket, host, mirror, certificates });
  }

  /**
   * Lets HAProxy bind its sockets again, by a hitless reload to what was applied last. Its master, which a signal reaches,
   * always binds its own anew.
   */
  private async bindAgain(wanted: WantedConfig, lost: SocketsLost): Promise<void> {
    const { binary, name, processes, log, assertOwnFolder } = this.options;
    await assertOwnFolder();
    // A master that can't bind its socket ends, and HAProxy with it.
    if (lost.inTheWay) throw lost;
    const [before, { disk }] = await Promise.all([this.files.record(), this.files.read()]);
    const config = before ?? { ...wanted, ...assignServers(wanted.backends, NOBODY, Date.now()) };
    if (before !== undefined)
      await this.files.save({ ...before, oldIdleMs: Math.max(before.oldIdleMs, idleOf(before.spec)) });
    const { sockets } = this.files;
    for (const socket of socketSpellings(sockets.worker, disk).toReversed()) {
      const rendered = await this.renderApplied(config, socket);
      await validateText(binary, rendered);
      await this.files.write(rendered);
      if (!processes.signal(this.id, "SIGUSR2")) return;
      await this.untilLoaded(rendered.structure);
      if ((await lostSockets(sockets)).length > 0) continue;
      log(`edge ${name}: HAProxy has bound its sockets again, by a reload`, { reason: lost.message });
      return;
    }
    throw new Error(`HAProxy of edge ${name} was reloaded, but did not bind its sockets again`);
  }

  /** Waits until a worker with a config has taken over, by what the master says: it may have no socket of its own. */
  private async untilLoaded(structure: string): Promise<void> {
    const { name, processes } = this.options;
    const { master } = this.files.sockets;
    let problem: unknown;
    const loaded = async () => {
      if (!this.observer.runs()) throw new Error(`HAProxy of edge ${name} exited`);
      try {
        const { worker } = await showProcesses(master);
        return worker !== undefined && (await workerInfo(master, `@!${worker.pid} `)).structure === structure;
      } catch (error) {
        problem = error;
        return false;
      }
    };
    if (await waitFor(loaded, { everyMs: UP_PAUSE_MS, deadlineMs: UP_DEADLINE_MS })) return;
    const reported = complaints((await processes.tail(this.id, { lines: TAIL_LINES })).join("\n"));
    throw new Error(`HAProxy of edge ${name} could not be reloaded: ${reported}`, { cause: problem });
  }

  private async untilWorkerRuns(structure: string, pid?: number): Promise<void> {
    const answers = async () => {
      if (!this.observer.runs()) throw new Error("it exited");
      // The old worker may still answer on the socket that both share.
      const worker = await workerInfo(this.files.sockets.worker).catch(() => undefined);
      return (
        worker !== undefined && !worker.stopping && worker.structure === structure && (pid ?? worker.pid) === worker.pid
      );
    };
    if (!(await waitFor(answers, { everyMs: UP_PAUSE_MS, deadlineMs: UP_DEADLINE_MS })))
      throw new Error(`it did not answer within ${UP_DEADLINE_MS} ms`);
  }

  /** Corrects what the runtime API can correct, until nothing differs. */
  private async correct(): Promise<void> {
    let left: string[] = [];
    for (let round = 0; round < CORRECTION_ROUNDS; round++) {
      const [record, workers] = await Promise.all([this.files.record(), this.observer.workers()]);
      if (record === undefined || workers === undefined) throw new Error(`HAProxy of edge ${this.options.name} exited`);
      const todo = corrections(record, workers);
      if (todo.length === 0) return;
      for (const { commands, oldWorker } of todo) {
        if (oldWorker === undefined) await change(this.files.sockets.worker, commands);
        // It may end meanwhile; the next observation tells whether the rest of it is as wanted.
        else
          await ask(this.files.sockets.master, commands.map((command) => `@!${oldWorker} ${command}`).join("; "), {
            retry: true,
          });
      }
      left = todo.map(({ reason }) => reason);
    }
    throw new Error(`HAProxy of edge ${this.options.name} does not keep its settings: ${left.join("; ")}`);
  }
}
