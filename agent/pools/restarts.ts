import { formatMilliseconds, milliseconds } from "../../model/duration";
import type { Reason } from "../../model/process-state";
import { nextRestart } from "../../model/restart";
import { type PoolHost, type Slot, subjectOf } from "./slot";

/** Starts processes again by their restart policy, when they have ended without being asked to, or had to be. */
export class Restarts {
  constructor(
    private readonly host: PoolHost,
    private readonly start: (slot: Slot) => void,
    private readonly now: () => number = Date.now,
    private readonly random: () => number = Math.random,
  ) {}

  /**
   * Plans the next start of a process that is gone, or gives it up.
   *
   * @param ended what has happened to it, such as `exited with code 1`
   */
  later(
    slot: Slot,
    { ranForMs, reason, ended, data = {} }: { ranForMs: number; reason: Reason; ended: string; data?: object },
  ): void {
    const { lives } = this.host;
    const { instance } = slot;
    const { history = [], restarts = 0 } = lives.get(instance.id) ?? {};
    const { restart } = instance.template;
    const decision = nextRestart(restart, { history, ranForMs, now: this.now(), random: this.random() });
    const { delayMs } = decision;
    if (delayMs === undefined) {
      const often = `it was started again ${decision.history.length} times ${restart.window === "0 seconds" ? "in its life" : `within ${restart.window}`}`;
      lives.move(subjectOf(instance), "give-up", {
        reason,
        said: `${ended} and has failed: ${often}; see its output, then restart it, or deploy`,
        data: { ...data },
        note: { history: decision.history, dueAt: undefined },
      });
      return;
    }
    slot.reason = reason;
    lives.move(subjectOf(instance), "wait", {
      reason,
      said: `${ended}: starts again in ${formatMilliseconds(delayMs)}`,
      data: { ...data, delayMs },
      note: { history: decision.history, restarts: restarts + 1, dueAt: this.now() + delayMs },
    });
    this.at(slot, delayMs);
  }

  /** Goes on with what an earlier agent had planned. */
  resume(slot: Slot, dueAt: number | undefined): void {
    const left = dueAt === undefined ? 0 : dueAt - this.now();
    slot.reason = this.host.lives.get(slot.instance.id)?.reason ?? slot.reason;
    // A clock that was set back must not make it wait for longer than its policy could.
    this.at(slot, Math.min(Math.max(left, 0), milliseconds(slot.instance.template.restart.cap)));
  }

  private at(slot: Slot, delayMs: number): void {
    clearTimeout(slot.timer);
    slot.timer = setTimeout(() => {
      slot.timer = undefined;
      this.start(slot);
    }, delayMs);
  }
}
