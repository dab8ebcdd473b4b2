import { setTimeout as sleep } from "node:timers/promises";
import { milliseconds } from "../../../model/types/duration";
import { messageOf } from "../../../model/types/errors";
import { titleOf } from "../launch/labels";
import { type SupervisedProcess, type SupervisionContext, subjectOf } from "../supervise/supervised-process";
import { type HealthCheck, healthCheckOf } from "./health";

/**
 * Looks at processes that are up, by their health checks: all but proxied ones, which HAProxy looks at, and those that have
 * only said that they are ready.
 */
export class HealthWatch {
  private readonly watched = new Map<string, AbortController>();
  private readonly results = new Map<string, "healthy" | "unhealthy">();

  constructor(
    private readonly host: SupervisionContext,
    /** A process has turned unhealthy. */
    private readonly unhealthy: (supervised: SupervisedProcess, why: string) => void,
  ) {}

  /** Health of a process; undefined without a check, or while it is not up. */
  of(id: string): "healthy" | "unhealthy" | undefined {
    return this.results.get(id);
  }

  /** Watches a process from now on, which has just come up or was adopted, until {@link end}. */
  begin(supervised: SupervisedProcess): void {
    const { instance } = supervised;
    const { health, policy } = instance.template;
    this.end(instance.id);
    const check = healthCheckOf(instance, this.host.processes);
    if (check === undefined || policy === "proxied") return;
    this.results.set(instance.id, "healthy");
    if (health?.line !== undefined) return;
    const stop = new AbortController();
    this.watched.set(instance.id, stop);
    this.watch(supervised, check, stop.signal).catch((error: unknown) => {
      if (stop.signal.aborted) return;
      const { events } = this.host;
      events.emit(`the health of ${titleOf(subjectOf(instance))} is not watched any more: ${messageOf(error)}`, {
        ...subjectOf(instance),
      });
    });
  }

  end(id: string): void {
    this.watched.get(id)?.abort();
    this.watched.delete(id);
    this.results.delete(id);
  }

  close(): void {
    for (const id of [...this.watched.keys()]) this.end(id);
  }

  private async watch(supervised: SupervisedProcess, check: HealthCheck, signal: AbortSignal): Promise<void> {
    const { id } = supervised.instance;
    for (let count: Count = { good: 0, bad: 0 }; ; ) {
      // The declared check may change while it runs.
      const { health } = supervised.instance.template;
      if (health === undefined) return;
      await sleep(milliseconds(health.checkInterval), undefined, { signal });
      const result = await check(milliseconds(health.timeout), signal);
      signal.throwIfAborted();
      count = result === undefined ? { good: count.good + 1, bad: 0 } : { good: 0, bad: count.bad + 1 };
      if (count.good >= health.rise && this.of(id) === "unhealthy")
        this.report(supervised, "healthy", "is healthy again");
      if (result !== undefined && count.bad >= health.fall && this.of(id) === "healthy") {
        this.report(supervised, "unhealthy", `is unhealthy: ${result}`);
        this.unhealthy(supervised, result);
      }
    }
  }

  private report({ instance }: SupervisedProcess, health: "healthy" | "unhealthy", reported: string): void {
    this.results.set(instance.id, health);
    const subject = subjectOf(instance);
    this.host.events.emit(`${titleOf(subject)} ${reported}`, { ...subject, health });
  }
}

interface Count {
  good: number;
  bad: number;
}
