import type { DownState, ProcessState } from "../../model/process-state";
import type { DownReplica } from "../../model/promotion-plan";
import type { Restarts } from "./restarts";
import { type PoolHost, type Slot, subjectOf } from "./slot";

/**
 * Services that are down while a release is promoted. Nothing is lost by starting them from its template instead of their own,
 * which may be what keeps them down; an undo puts them back as they were.
 */
export class DownServices {
  constructor(
    private readonly host: PoolHost,
    private readonly restarts: Restarts,
  ) {}

  /** Those among processes that should run. */
  among(slots: readonly Slot[]): DownReplica[] {
    return slots
      .filter((slot) => this.has(slot))
      .map(({ instance: { id, process, key } }) => ({ process, key, state: this.host.lives.state(id) }));
  }

  /** Whether a process is a service that does not run, or is only being tried again. */
  has({ instance: { id, template } }: Slot): boolean {
    if (template.policy !== "service") return false;
    const { state, history, leaving } = this.host.lives.get(id) ?? { state: "stopped", history: [] };
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

  /** Remembers how a service is down, before the template of the slot's instance starts it, and counts its restarts afresh. */
  setAside({ instance: { id, generation: startedBy } }: Slot): void {
    const { lives } = this.host;
    const life = lives.get(id);
    if (life === undefined) return;
    const { state, reason, history, restarts, dueAt, lastExit } = life;
    const down = { startedBy, state: downState(state), reason, history, restarts, dueAt, lastExit };
    // Nothing to go back to: it would be started as well.
    lives.note(id, { history: [], down: state === "stopped" ? undefined : down });
  }

  /** Whether what a service was set aside for is undone. */
  isUndone({ instance: { id, generation } }: Slot): boolean {
    const { down } = this.host.lives.get(id) ?? {};
    return down !== undefined && generation < down.startedBy;
  }

  /** Puts a service back of which nothing runs any more, as it was when it was set aside. */
  putBack(slot: Slot): void {
    const { lives } = this.host;
    const { instance } = slot;
    const { down } = lives.get(instance.id) ?? {};
    if (down === undefined || !this.isUndone(slot)) return;
    const { startedBy: _, state, ...past } = down;
    clearTimeout(slot.timer);
    slot.timer = undefined;
    lives.move(subjectOf(instance), state === "failed" ? "give-up" : "wait", {
      reason: past.reason,
      said: "is down as it was before",
      note: { ...past, dueAt: past.dueAt, lastExit: past.lastExit, down: undefined },
    });
    if (state === "backoff") this.restarts.resume(slot, past.dueAt);
  }
}

function downState(state: ProcessState): DownState {
  return state === "failed" ? "failed" : "backoff";
}
