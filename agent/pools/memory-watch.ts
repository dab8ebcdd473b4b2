import { milliseconds } from "../../model/duration";
import { bytes, formatBytes } from "../../model/size";
import { titleOf } from "./labels";
import type { MemorySamples } from "./memory-samples";
import { messageOf, type PoolHost, type Slot, subjectOf } from "./slot";

/** Between two passes over the processes, in milliseconds; each is looked at in its own interval. */
const TICK_MS = 100;

/** Looks at the memory of processes that declare it: warns, and has those restarted that are at their limit. */
export class MemoryWatch {
  private timer: NodeJS.Timeout | undefined;
  private readonly looks = new Map<string, { dueAt: number; warned: boolean; postponed: boolean }>();
  private looking = false;

  constructor(
    private readonly host: PoolHost,
    private readonly parts: {
      samples: MemorySamples;
      slots: () => Iterable<Slot>;
      /** Why a process may not restart now; undefined where it may. */
      cutBy: (slot: Slot) => Promise<string | undefined>;
      restart: (slot: Slot) => void;
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
    this.looks.delete(id);
  }

  private async pass(): Promise<void> {
    if (this.looking) return;
    this.looking = true;
    try {
      const now = performance.now();
      const due = [...this.parts.slots()].filter((slot) => this.isDue(slot, now));
      if (due.length === 0) return;
      const found = await this.parts.samples.of(
        due.map(({ instance }) => instance.id),
        0,
      );
      for (const slot of due) {
        const amount = found.get(slot.instance.id);
        if (amount !== undefined) await this.judge(slot, amount);
      }
    } catch (error) {
      this.host.events.emit(`the memory of processes could not be looked at: ${messageOf(error)}`);
    } finally {
      this.looking = false;
    }
  }

  private isDue({ instance: { id, template }, replacing, unproven }: Slot, now: number): boolean {
    const { memory } = template;
    if (memory === undefined || replacing !== undefined || unproven === true) return false;
    if (this.host.processes.get(id)?.state !== "running") return false;
    const look = this.looks.get(id) ?? { dueAt: 0, warned: false, postponed: false };
    if (look.dueAt > now) return false;
    this.looks.set(id, { ...look, dueAt: now + milliseconds(memory.interval) });
    return true;
  }

  private async judge(slot: Slot, amount: number): Promise<void> {
    const { memory } = slot.instance.template;
    const { id } = slot.instance;
    const look = this.looks.get(id);
    if (memory === undefined || look === undefined) return;
    if (amount >= bytes(memory.limit)) {
      const cut = await this.parts.cutBy(slot);
      if (cut === undefined) {
        this.tell(slot, `is at its memory limit of ${memory.limit}: it restarts`, amount);
        this.parts.restart(slot);
      } else if (!look.postponed)
        this.tell(slot, `is at its memory limit of ${memory.limit}, but ${cut}: it restarts when another does`, amount);
      this.looks.set(id, { ...look, postponed: cut !== undefined });
      return;
    }
    const over = memory.warning !== undefined && amount >= bytes(memory.warning);
    if (over && !look.warned) this.tell(slot, `is above its memory warning of ${memory.warning}`, amount);
    this.looks.set(id, { ...look, warned: over, postponed: false });
  }

  private tell({ instance }: Slot, said: string, amount: number): void {
    const subject = subjectOf(instance);
    this.host.events.emit(`${titleOf(subject)} has ${formatBytes(amount)} and ${said}`, {
      ...subject,
      memoryBytes: amount,
    });
  }
}
