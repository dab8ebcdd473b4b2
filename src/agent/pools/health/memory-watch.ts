import { milliseconds } from "../../../model/types/duration";
import { messageOf } from "../../../model/types/errors";
import { bytes, formatBytes } from "../../../model/types/size";
import { titleOf } from "../launch/labels";
import { type SupervisedProcess, type SupervisionContext, subjectOf } from "../supervise/supervised-process";
import type { MemorySamples } from "./memory-samples";

/** Between two passes over the processes, in milliseconds; each is looked at in its own interval. */
const TICK_MS = 100;

/** Looks at the memory of processes that declare it: warns, and has those restarted that are at their limit. */
export class MemoryWatch {
  private timer: NodeJS.Timeout | undefined;
  private readonly checks = new Map<string, { dueAt: number; warned: boolean; postponed: boolean }>();
  private checking = false;

  constructor(
    private readonly host: SupervisionContext,
    private readonly parts: {
      samples: MemorySamples;
      supervised: () => Iterable<SupervisedProcess>;
      /** Why a process may not restart now; undefined where it may. */
      cutReason: (supervised: SupervisedProcess) => Promise<string | undefined>;
      restart: (supervised: SupervisedProcess) => void;
    },
  ) {}

  start(): void {
    this.timer = setInterval(() => void this.pass(), TICK_MS).unref();
  }

  close(): void {
    clearInterval(this.timer);
  }

  /** A process that starts anew is looked at anew. */
  forget(id: string): void {
    this.checks.delete(id);
  }

  private async pass(): Promise<void> {
    if (this.checking) return;
    this.checking = true;
    try {
      const now = performance.now();
      const due = [...this.parts.supervised()].filter((supervised) => this.isDue(supervised, now));
      if (due.length === 0) return;
      const found = await this.parts.samples.of(
        due.map(({ instance }) => instance.id),
        0,
      );
      for (const supervised of due) {
        const amount = found.get(supervised.instance.id);
        if (amount !== undefined) await this.judge(supervised, amount);
      }
    } catch (error) {
      this.host.events.emit(`the memory of processes could not be checked: ${messageOf(error)}`);
    } finally {
      this.checking = false;
    }
  }

  private isDue({ instance: { id, template }, restarting, notReady }: SupervisedProcess, now: number): boolean {
    const { memory } = template;
    if (memory === undefined || restarting !== undefined || notReady === true) return false;
    if (this.host.processes.get(id)?.state !== "running") return false;
    const check = this.checks.get(id) ?? { dueAt: 0, warned: false, postponed: false };
    if (check.dueAt > now) return false;
    this.checks.set(id, { ...check, dueAt: now + milliseconds(memory.interval) });
    return true;
  }

  private async judge(supervised: SupervisedProcess, amount: number): Promise<void> {
    const { memory } = supervised.instance.template;
    const { id } = supervised.instance;
    const check = this.checks.get(id);
    if (memory === undefined || check === undefined) return;
    if (amount >= bytes(memory.limit)) {
      const cut = await this.parts.cutReason(supervised);
      if (cut === undefined) {
        this.report(supervised, `is at its memory limit of ${memory.limit}: it restarts`, amount);
        this.parts.restart(supervised);
      } else if (!check.postponed)
        this.report(
          supervised,
          `is at its memory limit of ${memory.limit}, but ${cut}: it restarts when another does`,
          amount,
        );
      this.checks.set(id, { ...check, postponed: cut !== undefined });
      return;
    }
    const over = memory.warning !== undefined && amount >= bytes(memory.warning);
    if (over && !check.warned) this.report(supervised, `is above its memory warning of ${memory.warning}`, amount);
    this.checks.set(id, { ...check, warned: over, postponed: false });
  }

  private report({ instance }: SupervisedProcess, reported: string, amount: number): void {
    const subject = subjectOf(instance);
    this.host.events.emit(`${titleOf(subject)} has ${formatBytes(amount)} and ${reported}`, {
      ...subject,
      memoryBytes: amount,
    });
  }
}
