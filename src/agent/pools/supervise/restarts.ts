import type { Reason } from "../../../model/process/process-state";
import { nextRestart } from "../../../model/process/restart";
import { formatMilliseconds, milliseconds } from "../../../model/types/duration";
import { type SupervisedProcess, type SupervisionContext, subjectOf } from "./supervised-process";

/** Starts processes again by their restart policy, when they have ended without being asked to, or had to be. */
export class Restarts {
  constructor(
    private readonly host: SupervisionContext,
    private readonly start: (supervised: SupervisedProcess) => void,
    private readonly now: () => number = Date.now,
    private readonly random: () => number = Math.random,
  ) {}

  /**
   * Plans the next start of a process that is gone, or gives it up.
   *
   * @param ended what has happened to it, such as `exited with code 1`
   */
  later(
    supervised: SupervisedProcess,
    { ranForMs, reason, ended, data = {} }: { ranForMs: number; reason: Reason; ended: string; data?: object },
  ): void {
    const { processStates } = this.host;
    const { instance } = supervised;
    const { history = [], restarts = 0 } = processStates.get(instance.id) ?? {};
    const { restart } = instance.template;
    const decision = nextRestart(restart, { history, ranForMs, now: this.now(), random: this.random() });
    const { delayMs } = decision;
    if (delayMs === undefined) {
      const often = `it was started again ${decision.history.length} times ${restart.window === "0 seconds" ? "in its life" : `within ${restart.window}`}`;
      processStates.transition(subjectOf(instance), "give-up", {
        reason,
        message: `${ended} and has failed: ${often}; see its output, then restart it, or deploy`,
        data: { ...data },
        facts: { history: decision.history, dueAt: undefined },
      });
      return;
    }
    supervised.reason = reason;
    processStates.transition(subjectOf(instance), "wait", {
      reason,
      message: `${ended}: starts again in ${formatMilliseconds(delayMs)}`,
      data: { ...data, delayMs },
      facts: { history: decision.history, restarts: restarts + 1, dueAt: this.now() + delayMs },
    });
    this.at(supervised, delayMs);
  }

  /** Goes on with what an earlier agent had planned. */
  resume(supervised: SupervisedProcess, dueAt: number | undefined): void {
    const left = dueAt === undefined ? 0 : dueAt - this.now();
    supervised.reason = this.host.processStates.get(supervised.instance.id)?.reason ?? supervised.reason;
    // A clock that was set back must not make it wait for longer than its policy could.
    this.at(supervised, Math.min(Math.max(left, 0), milliseconds(supervised.instance.template.restart.cap)));
  }

  private at(supervised: SupervisedProcess, delayMs: number): void {
    clearTimeout(supervised.timer);
    supervised.timer = setTimeout(() => {
      supervised.timer = undefined;
      this.start(supervised);
    }, delayMs);
  }
}
