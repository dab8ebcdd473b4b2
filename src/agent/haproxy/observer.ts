import { setTimeout as sleep } from "node:timers/promises";
import type { EdgeSpec } from "../../model/edge/edge";
import { milliseconds } from "../../model/types/duration";
import { singleFlight } from "../support/single-flight";
import { readConfig, structureOf } from "./config/config-file";
import { isUntouched } from "./config/render";
import type { EdgeFiles } from "./edge-files";
import { type EdgeObservation, observation } from "./observation";
import type { HaproxyOptions } from "./options";
import { clients, snapshotWorkers, usageIn, type WorkerSet } from "./runtime/worker-set";

/** Time until a started or reloaded HAProxy must answer, in milliseconds. */
export const UP_DEADLINE_MS = 15_000;
export const UP_PAUSE_MS = 5;
/** HAProxy tells times in whole seconds. */
const CLOCK_SLACK_MS = 2000;

/** Looks at an edge's HAProxy; changes nothing. */
export class Observer {
  /** The current worker and old ones; undefined if HAProxy does not run. Calls at the same time share one look. */
  readonly workers: () => Promise<WorkerSet | undefined>;
  /** Observes HAProxy now. Calls at the same time share one observation, which began after them. */
  readonly observe: () => Promise<EdgeObservation>;

  /** @param id of HAProxy among the processes */
  constructor(
    private readonly id: string,
    private readonly files: EdgeFiles,
    private readonly options: Pick<HaproxyOptions, "name" | "processes">,
  ) {
    this.workers = singleFlight(() => this.observeWorkers());
    this.observe = singleFlight(() => this.observeAll());
  }

  /**
   * Counts a server's connections in all workers, old ones included, and tells whether one may still give it new
   * requests: an old worker does so for idle client connections that it had when it was replaced, until they expire.
   */
  async connections(address: string, port: number): Promise<{ connections: number; mayReceive: boolean }> {
    const [workers, record] = await Promise.all([this.workers(), this.files.record()]);
    if (workers === undefined) return { connections: 0, mayReceive: false };
    const now = usageIn(workers.current, address, port);
    const idleMs = Math.max(record?.oldIdleMs ?? 0, record === undefined ? 0 : idleOf(record.spec));
    const old = workers.old.map(({ snapshot, replacedForSeconds }) => {
      // It ended, or is about to: the next observation tells.
      if (snapshot === undefined) return { connections: 0, takes: true };
      const use = usageIn(snapshot, address, port);
      const mayHaveIdle = replacedForSeconds * 1000 <= idleMs + CLOCK_SLACK_MS && clients(snapshot) > 0;
      return { connections: use.connections, takes: use.takes && mayHaveIdle };
    });
    const all = [now, ...old];
    return {
      connections: all.reduce((sum, { connections: counted }) => sum + counted, 0),
      mayReceive: all.some(({ takes }) => takes),
    };
  }

  /** Whether its HAProxy runs, as far as is known. */
  runs(): boolean {
    const state = this.options.processes.get(this.id)?.state;
    return state === "running" || state === "starting";
  }

  private async observeAll(): Promise<EdgeObservation> {
    const [workers, disk, record] = await Promise.all([
      this.workers(),
      readConfig(this.files.config),
      this.files.record(),
    ]);
    const state = disk === undefined ? "missing" : isUntouched(disk) ? "ours" : "edited";
    return observation(workers, record ?? { placed: [], leaving: [] }, { state, structure: structureOf(disk) });
  }

  private async observeWorkers(): Promise<WorkerSet | undefined> {
    if (!this.runs()) return undefined;
    const giveUpAt = performance.now() + UP_DEADLINE_MS;
    for (;;) {
      // The sockets refuse while HAProxy starts or its master re-executes itself; one that is killed cuts its answer off.
      let problem: unknown;
      const workers = await snapshotWorkers(this.files.sockets).catch((error: unknown) => {
        problem = error;
        return undefined;
      });
      if (workers !== undefined || !this.runs()) return workers;
      if (performance.now() > giveUpAt)
        throw (
          problem ??
          new Error(
            `HAProxy of edge ${this.options.name} runs (pid ${this.options.processes.get(this.id)?.pid}), but does not answer on ${this.files.sockets.master}: stop it, so that it is started again`,
          )
        );
      await sleep(UP_PAUSE_MS);
    }
  }
}

/** Longest time that a client connection without a request may wait in a worker. */
export function idleOf({ timeouts }: EdgeSpec): number {
  return Math.max(milliseconds(timeouts.keepAlive), milliseconds(timeouts.request));
}
