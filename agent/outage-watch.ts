import { isOut, outageText } from "../model/backend-health";
import { formatMilliseconds } from "../model/duration";
import { requestsLeadTo } from "./backend-health";
import type { Events } from "./events";
import type { Host } from "./host";

/** Pause between two looks, in milliseconds. */
const LOOK_MS = 2000;
/** Looks in a row that must agree before anything is said. */
const AGREEING = 2;

interface State {
  out: boolean;
  /** Looks in a row that saw it so. */
  looks: number;
  /** Since when it has been said to be out, in milliseconds since the epoch. */
  saidAt?: number | undefined;
}

/**
 * Tells as events when a backend that requests are led to loses its last server, and when it has one again; likewise of a HAProxy
 * that hangs. A look asks HAProxy for one row per backend.
 */
export class OutageWatch {
  private readonly states = new Map<string, State>();
  private timer: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(
    private readonly host: Host,
    private readonly events: Events,
  ) {}

  start(): void {
    void this.look().finally(() => {
      if (!this.closed) this.timer = setTimeout(() => this.start(), LOOK_MS);
    });
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
  }

  private async look(): Promise<void> {
    const edges = Object.keys(this.host.working().edges).filter(
      (edge) => this.host.haproxy(edge).runs() && !this.host.waits(edge),
    );
    const seen = await Promise.all(edges.map((edge) => this.lookAt(edge)));
    const known = new Set(seen.flat());
    for (const key of this.states.keys()) if (!known.has(key)) this.states.delete(key);
  }

  /** Looks at one edge; resolves with what there is to be watched of it. */
  private async lookAt(edge: string): Promise<string[]> {
    const backends = requestsLeadTo(this.host.working(), edge);
    try {
      const weights = await this.host.haproxy(edge).weights();
      this.hangs(edge, false);
      // One that is not there yet is made by the same update as a rule.
      const here = backends.filter((backend) => weights.has(backend));
      await Promise.all(here.map((backend) => this.saw(edge, backend, weights.get(backend) === 0)));
    } catch (error) {
      this.hangs(edge, this.host.haproxy(edge).runs(), (error as Error).message);
    }
    return [edge, ...backends.map((backend) => `${edge}/${backend}`)];
  }

  private hangs(edge: string, out: boolean, why = ""): void {
    const state = this.next(edge, out);
    if (out && agreed(state)) {
      state.saidAt = Date.now();
      this.events.emit(`HAProxy of edge ${edge} does not answer: ${why}`, { edge });
    } else if (!out && state.saidAt !== undefined) {
      this.events.emit(`HAProxy of edge ${edge} answers again, after ${sinceText(state.saidAt)}`, { edge });
      state.saidAt = undefined;
    }
  }

  private async saw(edge: string, backend: string, out: boolean): Promise<void> {
    const state = this.next(`${edge}/${backend}`, out);
    if (out && agreed(state)) {
      const health = this.host.backendsHealth(edge, await this.host.haproxy(edge).observe())[backend];
      if (health === undefined || !isOut(health)) return;
      state.saidAt = Date.now();
      this.events.emit(`edge ${edge}: ${outageText(backend, health)}`, { edge, backend });
    } else if (!out && state.looks >= AGREEING && state.saidAt !== undefined) {
      const after = sinceText(state.saidAt);
      state.saidAt = undefined;
      this.events.emit(`edge ${edge}: backend ${backend} takes requests again, after ${after}`, {
        edge,
        backend,
      });
    }
  }

  private next(key: string, out: boolean): State {
    const before = this.states.get(key);
    const state = { out, looks: before?.out === out ? before.looks + 1 : 1, saidAt: before?.saidAt };
    this.states.set(key, state);
    return state;
  }
}

function agreed({ looks, saidAt }: State): boolean {
  return looks >= AGREEING && saidAt === undefined;
}

function sinceText(at: number): string {
  return formatMilliseconds(Math.max(1000, Math.round((Date.now() - at) / 1000) * 1000));
}
