import type { Reason } from "../../model/process-state";
import { Problem } from "../problem";
import type { Departures } from "./departures";
import { fromLabels } from "./labels";
import { labelsNow } from "./labels-now";
import type { Restarts } from "./restarts";
import { messageOf, type PoolHost, type Slot, subjectOf } from "./slot";
import type { Starter } from "./starter";

/** Restarts processes that run: their traffic goes to the others first, they drain, stop, start, and get it back. */
export class Replacer {
  constructor(
    private readonly host: PoolHost,
    private readonly parts: {
      departures: Departures;
      starter: Starter;
      restarts: Restarts;
      isCurrent: (slot: Slot) => boolean;
    },
  ) {}

  /**
   * Restarts a process; joins a restart that is under way.
   *
   * @param reason `manual` starts at once and afresh, all else by its restart policy
   * @throws where it does not come up; it then goes on by its restart policy
   */
  replace(slot: Slot, reason: Reason): Promise<void> {
    slot.replacing ??= this.replaceNow(slot, reason).finally(() => {
      slot.replacing = undefined;
    });
    return slot.replacing;
  }

  /**
   * Whether the pool's traffic would still be taken while a process restarts.
   *
   * @returns undefined where it would, else why not
   */
  async cutBy({ instance: { id, template, pool, port, key, inPlace } }: Slot): Promise<string | undefined> {
    if (template.policy !== "proxied") return undefined;
    if (inPlace)
      return this.host.processes.get(id)?.state === "running"
        ? `${key} is reached by edges that this agent can't lead past it: only an update does`
        : undefined;
    const ports = await this.taking(pool);
    const alone = port !== undefined && ports.includes(port) && ports.length === 1;
    return alone ? `${key} is the only replica that takes the traffic` : undefined;
  }

  /** Ports of a pool's servers that take requests, and will until somebody restarts them. */
  async taking(pool: string): Promise<number[]> {
    const ports = await this.host.traffic.taking(pool);
    const { lives, processes } = this.host;
    const leaving = new Set([...lives.offEdge()].map((id) => fromLabels(processes.get(id)?.labels ?? {})?.port));
    return ports.filter((port) => !leaving.has(port));
  }

  private async replaceNow(slot: Slot, reason: Reason): Promise<void> {
    const { processes, lives, traffic } = this.host;
    const { instance } = slot;
    const { id, pool, template } = instance;
    const since = Date.parse(processes.get(id)?.startedAt ?? "");
    if (template.policy === "proxied") {
      const cut = await this.cutBy(slot);
      if (cut !== undefined)
        throw new Problem(
          409,
          "would-cut",
          `the restart of ${instance.key} would cut the traffic of pool ${pool}: ${cut}`,
        );
      // In the same turn as the look: two restarts at once must not both count on each other.
      lives.note(id, { offEdge: true });
      await traffic.converge(pool);
    }
    if (processes.get(id)?.state === "running" && !this.parts.departures.has(id)) {
      const labels = labelsNow(slot, this.host);
      if (labels !== undefined) this.parts.departures.start(id, labels, { reason, again: true });
    }
    const gone = this.parts.departures.ended(id).then(() => {
      slot.reason = reason;
      if (this.parts.isCurrent(slot) && (reason === "memory" || reason === "unhealthy")) {
        const ranForMs = Number.isNaN(since) ? 0 : Date.now() - since;
        this.parts.restarts.later(slot, { ranForMs, reason, ended: `stopped (${reason})` });
      }
    });
    // Whoever wants it to run meanwhile comes after this.
    slot.turn = Promise.allSettled([slot.turn, gone]);
    await gone;
    if (reason === "memory" || reason === "unhealthy" || !this.parts.isCurrent(slot)) return;
    lives.note(id, { history: [] });
    try {
      await this.parts.starter.ensure(slot, true, new AbortController().signal);
    } catch (error) {
      this.parts.restarts.later(slot, { ranForMs: 0, reason: "crash", ended: "did not come up after its restart" });
      throw error instanceof Problem
        ? error
        : new Problem(422, "not-up", `${instance.key} of pool ${pool} could not be started: ${messageOf(error)}`, {
            ...subjectOf(instance),
          });
    }
  }
}
