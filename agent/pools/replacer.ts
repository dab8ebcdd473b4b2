import type { Reason } from "../../model/process-state";
import { Problem } from "../problem";
import type { Departures } from "./departures";
import { fromLabels, toLabels } from "./launch-spec";
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
  async cutBy({ instance }: Slot): Promise<string | undefined> {
    if (instance.template.policy !== "proxied") return undefined;
    const others = (await this.taking(instance.pool)).filter((port) => port !== instance.port);
    return others.length > 0 ? undefined : `${instance.key} is the only replica that takes the traffic`;
  }

  /** Ports of a pool's servers that take requests now. */
  taking(pool: string): Promise<number[]> {
    return this.host.traffic.taking(pool);
  }

  /** Whether a process takes requests now. */
  async takes({ instance: { pool, port } }: Slot): Promise<boolean> {
    return port !== undefined && (await this.taking(pool)).includes(port);
  }

  private async replaceNow(slot: Slot, reason: Reason): Promise<void> {
    const { processes, lives, traffic } = this.host;
    const { instance } = slot;
    const { id, pool, template } = instance;
    const since = Date.parse(processes.get(id)?.startedAt ?? "");
    if (template.policy === "proxied") {
      lives.note(id, { offEdge: true });
      await traffic.converge(pool);
    }
    if (processes.get(id)?.state === "running" && !this.parts.departures.has(id)) {
      const labels = fromLabels(toLabels(instance, slot.drainMs));
      if (labels !== undefined) this.parts.departures.start(id, labels, { reason, again: true });
    }
    await this.parts.departures.ended(id);
    if (!this.parts.isCurrent(slot)) return;
    slot.reason = reason;
    if (reason === "memory" || reason === "unhealthy") {
      const ranForMs = Number.isNaN(since) ? 0 : Date.now() - since;
      this.parts.restarts.later(slot, { ranForMs, reason, ended: `stopped (${reason})` });
      return;
    }
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
