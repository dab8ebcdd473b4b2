import type { Reason } from "../../../model/process/process-state";
import { messageOf } from "../../../model/types/errors";
import { ApiError } from "../../api/api-error";
import { currentLabels } from "../launch/current-labels";
import { fromLabels } from "../launch/labels";
import type { Starter } from "../launch/starter";
import type { Restarts } from "./restarts";
import { type SupervisedProcess, type SupervisionContext, subjectOf } from "./supervised-process";
import type { Terminations } from "./terminations";

/** Restarts processes that run: their traffic goes to the others first, they drain, stop, start, and get it back. */
export class ProcessRestarter {
  constructor(
    private readonly host: SupervisionContext,
    private readonly parts: {
      terminations: Terminations;
      starter: Starter;
      restarts: Restarts;
      isCurrent: (supervised: SupervisedProcess) => boolean;
    },
  ) {}

  /**
   * Restarts a process; joins a restart that is under way.
   *
   * @param reason `manual` starts at once and afresh, all else by its restart policy
   * @throws where it does not come up; it then goes on by its restart policy
   */
  restart(supervised: SupervisedProcess, reason: Reason): Promise<void> {
    supervised.restarting ??= this.restartNow(supervised, reason).finally(() => {
      supervised.restarting = undefined;
    });
    return supervised.restarting;
  }

  /**
   * Whether the pool's traffic would still be taken while a process restarts.
   *
   * @returns undefined where it would, else why not
   */
  async cutReason({
    instance: { id, template, pool, port, key, inPlace },
  }: SupervisedProcess): Promise<string | undefined> {
    if (template.policy !== "proxied") return undefined;
    if (inPlace)
      return this.host.processes.get(id)?.state === "running"
        ? `${key} is reached by edges that this agent can't lead past it: only an update does`
        : undefined;
    const ports = await this.receivingPorts(pool);
    const alone = port !== undefined && ports.includes(port) && ports.length === 1;
    return alone ? `${key} is the only replica that takes the traffic` : undefined;
  }

  /** Ports of a pool's servers that take requests, and will until somebody restarts them. */
  async receivingPorts(pool: string): Promise<number[]> {
    const ports = await this.host.traffic.receivingPorts(pool);
    const { processStates, processes } = this.host;
    const leaving = new Set(
      [...processStates.offEdge()].map((id) => fromLabels(processes.get(id)?.labels ?? {})?.port),
    );
    return ports.filter((port) => !leaving.has(port));
  }

  private async restartNow(supervised: SupervisedProcess, reason: Reason): Promise<void> {
    const { processes, processStates, traffic } = this.host;
    const { instance } = supervised;
    const { id, pool, template } = instance;
    const since = Date.parse(processes.get(id)?.startedAt ?? "");
    if (template.policy === "proxied") {
      const cut = await this.cutReason(supervised);
      if (cut !== undefined)
        throw new ApiError(
          409,
          "would-cut",
          `the restart of ${instance.key} would cut the traffic of pool ${pool}: ${cut}`,
        );
      // In the same turn as the check: two restarts at once must not both count on each other.
      processStates.remember(id, { offEdge: true });
      await traffic.converge(pool);
    }
    if (processes.get(id)?.state === "running" && !this.parts.terminations.has(id)) {
      const labels = currentLabels(supervised, this.host);
      if (labels !== undefined) this.parts.terminations.start(id, labels, { reason, again: true });
    }
    const gone = this.parts.terminations.ended(id).then(() => {
      supervised.reason = reason;
      if (this.parts.isCurrent(supervised) && (reason === "memory" || reason === "unhealthy")) {
        const ranForMs = Number.isNaN(since) ? 0 : Date.now() - since;
        this.parts.restarts.later(supervised, { ranForMs, reason, ended: `stopped (${reason})` });
      }
    });
    // Starts that are asked for meanwhile come after this.
    supervised.turn = Promise.allSettled([supervised.turn, gone]);
    await gone;
    if (reason === "memory" || reason === "unhealthy" || !this.parts.isCurrent(supervised)) return;
    processStates.remember(id, { history: [] });
    try {
      await this.parts.starter.ensure(supervised, true, new AbortController().signal);
    } catch (error) {
      this.parts.restarts.later(supervised, {
        ranForMs: 0,
        reason: "crash",
        ended: "did not come up after its restart",
      });
      throw error instanceof ApiError
        ? error
        : new ApiError(422, "not-up", `${instance.key} of pool ${pool} could not be started: ${messageOf(error)}`, {
            ...subjectOf(instance),
          });
    }
  }
}
