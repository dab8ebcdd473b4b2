import { waitFor } from "../../support/waiting";
import type { Found } from "./adopt";
import { clearGroup, type Group, KILL_DEADLINE_MS, killGroup, killMarked } from "./group";
import { type Identity, isAlive, signalProcess } from "./identity";
import type { Launched } from "./launch";
import { type Ending, type ProcessEvent, type ProcessRecord, recordedEnding } from "./process-record";
import { appendEnd, readStatus } from "./status";

const POLL_MS = 10;
/** How long a shim that lives may take to say how its app has ended, in milliseconds. */
const SHIM_ANSWER_MS = 1000;
/** How long after its shim an app may end that was killed together with it, in milliseconds. */
const SHARED_END_MS = 100;
/** How often an app is looked at whose shim is gone, in milliseconds. */
const SHIMLESS_POLL_MS = 100;

export interface StopOptions {
  /** How it is asked to end: by a signal, or otherwise. */
  signal: NodeJS.Signals | (() => void);
  /** How long the app may take to end by itself after that, in milliseconds. */
  graceMs: number;
}

interface ProcessContext {
  marker: string;
  statusPath: string;
  report: (event: ProcessEvent) => void;
  onExit: (record: ProcessRecord) => void;
  closed: () => boolean;
}

/** One process of the process host, from its launch or adoption to its end. */
export class ManagedProcess {
  private app: Identity | undefined;
  private group: Group | undefined;
  private stopping: Promise<ProcessRecord> | undefined;
  /** Settles, never rejects, when nothing is left of the group of an app that is gone. */
  private clearing: Promise<void> | undefined;
  /** Set when this agent kills the whole group, shim included. */
  private killReason: string | undefined;
  /** Since when the app is gone and its shim has not said so, by `performance.now()`. */
  private silentSince: number | undefined;

  /** Settles, never rejects, when the launch is over. */
  private launching: Promise<unknown> | undefined;

  constructor(
    public record: ProcessRecord,
    private readonly context: ProcessContext,
  ) {}

  get id(): string {
    return this.record.id;
  }

  /** Its app and its shim, while it runs. */
  get identities(): { app: Identity; shim: Identity } | undefined {
    const { app, group, record } = this;
    return record.state !== "running" || app === undefined || group === undefined
      ? undefined
      : { app, shim: group.shim };
  }

  launchedBy(launching: Promise<Launched>): void {
    this.launching = launching.catch(() => undefined);
  }

  started(launched: Launched): void {
    const { app, shim } = launched;
    this.identify(launched);
    this.record = { ...this.record, state: "running", pid: app.pid, startTime: app.startTime, group: shim.pid };
  }

  /** Takes over from an earlier agent: an exit that is known by now is old news, and not announced. */
  found({ processes, ended }: Found): void {
    if (processes !== undefined) this.identify(processes);
    if (ended !== undefined) this.ended(ended.ending, ended.at);
    else if (processes !== undefined) {
      const { app, shim } = processes;
      if (!isAlive(app) && !isAlive(shim)) this.observe(app, shim);
      else this.started(processes);
      if (!isAlive(shim)) void this.shimEnded();
    }
  }

  /**
   * Looks whether the app has exited; the one place that finds it out. The order matters: a shim writes before it ends, so
   * it is looked at before the status is.
   */
  check(): void {
    const { app, group, record } = this;
    if (record.state === "running" && app !== undefined && group !== undefined) this.observe(app, group.shim);
  }

  private observe(app: Identity, shim: Identity): void {
    if (isAlive(app)) return;
    const shimAlive = isAlive(shim);
    const status = readStatus(this.context.statusPath);
    const recorded = status && recordedEnding(status);
    if (status !== undefined && recorded !== undefined) {
      this.ended(recorded, status.writtenAt);
    } else if (this.killReason !== undefined) {
      this.endedUnrecorded({ signal: "SIGKILL", reason: this.killReason });
    } else if (!shimAlive) {
      this.endedUnrecorded({ signal: null, reason: "exit code unknown: its shim was killed, too" });
    } else {
      this.silentSince ??= performance.now();
      if (performance.now() - this.silentSince > SHIM_ANSWER_MS)
        this.endedUnrecorded({ signal: null, reason: "exit code unknown: its shim does not answer" });
    }
  }

  /** Its shim has ended: alone, or a moment before its app when both are killed. */
  async shimEnded(): Promise<void> {
    const isOver = () => this.context.closed() || this.hasEnded();
    if (await waitFor(isOver, { everyMs: POLL_MS, deadlineMs: SHARED_END_MS })) return;
    const { id, pid } = this.record;
    const message = `the shim of process ${id} was killed; the process runs on, but its exit code will be unknown`;
    this.context.report({ message, data: { id, pid } });
    const watching = setInterval(() => {
      this.check();
      if (this.record.state !== "running" || this.context.closed()) clearInterval(watching);
    }, SHIMLESS_POLL_MS).unref();
  }

  /** Moves the record to `exited` and clears the group; a no-op when that has been done. */
  ended(ending: Ending, at: Date): void {
    if (this.record.state === "exited") return;
    const announced = this.record.state === "running";
    this.record = { ...this.record, state: "exited", exit: { ...ending, at: at.toISOString() } };
    if (this.group !== undefined) this.clearing = this.clear(this.group);
    if (announced) this.context.onExit(this.record);
  }

  /** Concurrent calls join the first one. */
  stop(options: StopOptions): Promise<ProcessRecord> {
    this.stopping ??= this.stopOnce(options).finally(() => {
      this.stopping = undefined;
    });
    return this.stopping;
  }

  /** Signals the app alone. @returns whether it lives */
  signal(signal: NodeJS.Signals): boolean {
    return this.record.state === "running" && this.app !== undefined && signalProcess(this.app, signal);
  }

  /** Resolves when no stop is under way and nothing is left of the group of an app that is gone. */
  async settled(): Promise<void> {
    await this.stopping?.catch(() => undefined);
    await this.clearing;
  }

  private async stopOnce({ signal, graceMs }: StopOptions): Promise<ProcessRecord> {
    await this.launching;
    const { id, app, group } = this;
    if (this.record.state === "starting") throw new Error(`process ${id} failed to start; there is nothing to stop`);
    if (this.record.state === "running" && app !== undefined && group !== undefined) {
      if (typeof signal === "string") signalProcess(app, signal);
      else signal();
      if (!(await this.exits(graceMs))) {
        const asked = typeof signal === "string" ? signal : "it was asked to stop";
        this.killReason = `killed with its whole group, ${graceMs} ms after ${asked}`;
        await killGroup(group);
        signalProcess(app, "SIGKILL");
        if (!(await this.exits(KILL_DEADLINE_MS)))
          throw new Error(`process ${id} (pid ${app.pid}) survives SIGKILL: it waits for a disk or a device`);
      }
    }
    await this.clearing;
    const escaped = await killMarked(this.context.marker, id);
    if (escaped.length > 0)
      this.context.report({
        message: `processes of ${id} outside its group were killed`,
        data: { id, pids: escaped },
      });
    return this.record;
  }

  private async exits(withinMs: number): Promise<boolean> {
    const hasExited = () => this.hasEnded() && this.record.state === "exited";
    return (await waitFor(hasExited, { everyMs: POLL_MS, deadlineMs: withinMs })) === true;
  }

  private hasEnded(): boolean {
    this.check();
    return this.record.state !== "running";
  }

  private identify({ app, shim, watched }: Launched): void {
    this.app = app;
    this.group = { shim, marker: this.context.marker, id: this.id, watched };
  }

  private endedUnrecorded(end: { signal: string | null; reason: string }): void {
    const { id } = this;
    try {
      appendEnd(this.context.statusPath, end);
    } catch (error) {
      const message = `the end of process ${id} could not be recorded`;
      this.context.report({ message, data: { id, problem: String(error) } });
    }
    this.ended({ code: null, ...end }, new Date());
  }

  private async clear(group: Group): Promise<void> {
    const { id } = this;
    const { report } = this.context;
    try {
      const pids = await clearGroup(group);
      if (pids.length > 0)
        report({ message: `process ${id} exited and left others behind, which were ended`, data: { id, pids } });
    } catch (error) {
      report({ message: `what process ${id} left behind could not be ended`, data: { id, problem: String(error) } });
    }
  }
}
