import { setTimeout as sleep } from "node:timers/promises";
import type { Reason } from "../../model/process/process-state";
import { withTimeout } from "../../support/waiting";
import type { Events } from "../events/events";

/** Delays between attempts to reach the desired state, in milliseconds: doubling, capped. */
const RETRY_FIRST_MS = 100;
const RETRY_CAP_MS = 5000;
/** Time that the agent's start waits for edges, and then for processes, before it answers without them, in milliseconds. */
const BOOT_WAIT_MS = 10_000;

/** The host whose edges and pools are reconciled. */
export interface ReconciledHost {
  convergeEdge(edge: string): Promise<void>;
  convergePool(pool: string, options: { strict: () => boolean; signal: AbortSignal; reason: Reason }): Promise<void>;
  haproxy(edge: string): { runs(): boolean };
  working(): { edges: Readonly<Record<string, unknown>> };
}

/** Reconciles a host with its working state and never gives up: after undos, crashes and reboots. */
export class Reconciler {
  /** Work that goes on in the background, by pool. */
  private readonly unsettled = new Map<Promise<void>, readonly string[]>();
  /** Edges whose HAProxy is being brought back. */
  private readonly restarting = new Set<string>();
  /** Edges that are being brought up, each until its first try has succeeded or failed. */
  private readonly firstTries = new Map<string, Promise<void>>();
  private closed = false;

  constructor(
    private readonly host: ReconciledHost,
    private readonly events: Events,
  ) {}

  /**
   * Drives edges, then pools, to the working state, and does not give up: an undo must come to its end.
   *
   * @param reason why processes start or end by it
   * @param delayed told why it could not be done yet, after each try
   */
  async reconcile(
    { edges, pools }: { edges: string[]; pools: string[] },
    reason: Reason,
    delayed: (why: string) => void = () => undefined,
  ): Promise<void> {
    const restoring = this.reconciling({ edges, pools }, reason, delayed);
    await restoring.pools;
    await restoring.edges;
  }

  /**
   * Processes follow once no traffic depends on them any more: as soon as each edge is as it should be, or serves nobody.
   * An edge that can't come up, such as one whose port is taken, keeps no process from running.
   */
  private reconciling(
    { edges, pools }: { edges: string[]; pools: string[] },
    reason: Reason,
    delayed: (why: string) => void,
  ) {
    const reconciled = edges.map((edge) => {
      const { ended, end } = this.beginFirstTry(edge);
      const done = this.persist(
        `edge ${edge}`,
        () => this.host.convergeEdge(edge),
        (why) => {
          delayed(why);
          if (!this.host.haproxy(edge).runs()) end();
        },
      ).finally(end);
      return { harmless: ended, done };
    });
    const { signal } = new AbortController();
    const all = (promises: Promise<void>[]) => Promise.all(promises).then(() => undefined);
    return {
      edges: all(reconciled.map(({ done }) => done)),
      pools: all(reconciled.map(({ harmless: unblocked }) => unblocked)).then(() =>
        all(
          pools.map((pool) =>
            this.persist(
              `pool ${pool}`,
              () => this.host.convergePool(pool, { strict: () => false, signal, reason }),
              delayed,
            ),
          ),
        ),
      ),
    };
  }

  /** Does work in the background; {@link settled} waits for it. It is known from this call on, not from its first step. */
  inBackground(pools: readonly string[], work: () => Promise<void>): Promise<void> {
    const running = work()
      .catch((error: unknown) => {
        this.events.emit(`work in the background failed: ${(error as Error).message}`, { pools });
      })
      .finally(() => this.unsettled.delete(running));
    this.unsettled.set(running, pools);
    return running;
  }

  /** Waits until what goes on in the background about a pool is done. */
  async settled(pool: string): Promise<void> {
    const pending = [...this.unsettled].filter(([, pools]) => pools.includes(pool));
    await Promise.all(pending.map(([promise]) => promise));
  }

  /** HAProxy's master exited without being asked to: it starts again at once from the file on disk. */
  async restart(edge: string): Promise<void> {
    await this.bringBack(edge, `HAProxy of edge ${edge} exited: starting it again`);
  }

  /** Brings back a HAProxy that has exited or can't be reached, and does not give up. @param why event of its begin */
  async bringBack(edge: string, why?: string): Promise<void> {
    // One that does not come up exits at each try.
    if (this.closed || this.restarting.has(edge) || this.host.working().edges[edge] === undefined) return;
    this.restarting.add(edge);
    if (why !== undefined) this.events.emit(why, { edge });
    const { end } = this.beginFirstTry(edge);
    const work = async () => {
      if (this.host.working().edges[edge] !== undefined) await this.host.convergeEdge(edge);
    };
    await this.persist(`edge ${edge}`, work, end).finally(end);
    this.restarting.delete(edge);
    // It may have exited again between the last try and now.
    if (!this.host.haproxy(edge).runs()) await this.restart(edge);
  }

  /** Whether HAProxy of an edge runs. One that is being brought up is waited for, until that has failed once. */
  async isUp(edge: string): Promise<boolean> {
    if (!this.host.haproxy(edge).runs()) await this.firstTries.get(edge);
    return this.host.haproxy(edge).runs();
  }

  private beginFirstTry(edge: string): { ended: Promise<void>; end: () => void } {
    let end: () => void = () => undefined;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.firstTries.set(edge, ended);
    void ended.then(() => {
      if (this.firstTries.get(edge) === ended) this.firstTries.delete(edge);
    });
    return { ended, end };
  }

  /** Waits for work, but not longer than a start should take; the rest goes on in the background. */
  async atMostBootWait(work: Promise<void>[]): Promise<void> {
    await withTimeout(Promise.all(work), BOOT_WAIT_MS, () => undefined);
  }

  private async persist(
    what: string,
    work: () => Promise<void>,
    failed: (why: string) => void = () => undefined,
  ): Promise<void> {
    for (let delay = RETRY_FIRST_MS; !this.closed; delay = Math.min(delay * 2, RETRY_CAP_MS)) {
      try {
        await work();
        return;
      } catch (error) {
        const why = `${what} could not be restored yet: ${(error as Error).message}`;
        this.events.emit(why, { retryInMs: delay });
        failed(why);
        await sleep(delay);
      }
    }
  }

  close(): void {
    this.closed = true;
  }
}
