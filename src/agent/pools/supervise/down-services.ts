import type { DownReplica } from "../../../model/pool/promotion-plan";
import type { DownState, ProcessState } from "../../../model/process/process-state";
import type { Restarts } from "./restarts";
import { type SupervisedProcess, type SupervisionContext, subjectOf } from "./supervised-process";

/**
 * Services that are down while a release is promoted. Nothing is lost by starting them from its template instead of their own,
 * which may be what keeps them down; an undo puts them back as they were.
 */
export class DownServices {
  constructor(
    private readonly host: SupervisionContext,
    private readonly restarts: Restarts,
  ) {}

  /** The services among processes that are down but should run. */
  among(supervised: readonly SupervisedProcess[]): DownReplica[] {
    return supervised
      .filter((supervised) => this.has(supervised))
      .map(({ instance: { id, process, key } }) => ({ process, key, state: this.host.processStates.state(id) }));
  }

  /** Whether a process is a service that does not run, or is only being tried again. */
  has({ instance: { id, template } }: SupervisedProcess): boolean {
    if (template.policy !== "service") return false;
    const { state, history, leaving } = this.host.processStates.get(id) ?? { state: "stopped", history: [] };
    switch (state) {
      case "stopped":
      case "backoff":
      case "failed":
        return true;
      case "starting":
        // One that has never been up may just be slow.
        return history.length > 0;
      case "quieting":
      case "draining":
      case "stopping":
        return leaving?.reason === "unhealthy";
      case "running":
        return false;
    }
  }

  /** Remembers how a service is down, before its new template starts it, and counts its restarts afresh. */
  setAside({ instance: { id, generation: startedBy } }: SupervisedProcess): void {
    const { processStates } = this.host;
    const record = processStates.get(id);
    if (record === undefined) return;
    const { state, reason, history, restarts, dueAt, lastExit } = record;
    const down = { startedBy, state: downState(state), reason, history, restarts, dueAt, lastExit };
    // A stopped service has no state to restore: an undo would start it, too.
    processStates.remember(id, { history: [], down: state === "stopped" ? undefined : down });
  }

  /** Whether what a service was set aside for is undone. */
  isUndone({ instance: { id, generation } }: SupervisedProcess): boolean {
    const { down } = this.host.processStates.get(id) ?? {};
    return down !== undefined && generation < down.startedBy;
  }

  /** Puts a service back of which nothing runs any more, as it was when it was set aside. */
  putBack(supervised: SupervisedProcess): void {
    const { processStates } = this.host;
    const { instance } = supervised;
    const { down } = processStates.get(instance.id) ?? {};
    if (down === undefined || !this.isUndone(supervised)) return;
    const { startedBy: _, state, ...past } = down;
    clearTimeout(supervised.timer);
    supervised.timer = undefined;
    processStates.transition(subjectOf(instance), state === "failed" ? "give-up" : "wait", {
      reason: past.reason,
      message: "is down as it was before",
      facts: { ...past, dueAt: past.dueAt, lastExit: past.lastExit, down: undefined },
    });
    if (state === "backoff") this.restarts.resume(supervised, past.dueAt);
  }
}

function downState(state: ProcessState): DownState {
  return state === "failed" ? "failed" : "backoff";
}
