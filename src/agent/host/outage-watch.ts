import { isOut, outageText } from "../../model/edge/backend-health";
import { UNGUARDED } from "../../model/protocol/agent";
import { formatMilliseconds } from "../../model/types/duration";
import type { Events } from "../events/events";
import { requestsLeadTo } from "./backend-health";
import type { Host } from "./host";

/** Pause between two checks, in milliseconds. */
const CHECK_MS = 2000;
/** Looks in a row that must agree before anything is said. */
const AGREEING = 2;

interface State {
  out: boolean;
  /** Looks in a row that saw it so. */
  checks: number;
  /** Since when it has been said to be out, in milliseconds since the epoch. */
  reportedAt?: number | undefined;
}

/** Something that is as it should be, or not. */
interface Condition {
  /** Unique among all that is watched. */
  key: string;
  /** Whether it is not as it should be; undefined if this look can't tell. */
  out: boolean | undefined;
  /** The event of its begin; undefined if a closer look finds it good. */
  begins: () => string | undefined | Promise<string | undefined>;
  /** The event of its end. */
  ends: (after: string) => string;
  data: Record<string, unknown>;
}

interface Watched {
  host: Host;
  events: Events;
  /** Problems of the agent's state folder now. */
  folderProblems: () => Promise<string[]>;
  /** Whether something restarts the agent when it dies. */
  guarded: () => boolean;
}

/**
 * Tells as events when a backend that requests are led to loses its last server, and when it has one again; likewise of a HAProxy
 * that does not run or hangs, of the agent's state folder and of its guard. A look asks HAProxy for one row per backend.
 */
export class OutageWatch {
  private readonly states = new Map<string, State>();
  private timer: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(private readonly watched: Watched) {}

  start(): void {
    void this.check().finally(() => {
      if (!this.closed) this.timer = setTimeout(() => this.start(), CHECK_MS);
    });
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
  }

  private async check(): Promise<void> {
    const { host } = this.watched;
    const edges = Object.keys(host.working().edges).filter((edge) => !host.waits(edge));
    const checks = [this.agentNow(), ...edges.map((edge) => this.edgeNow(edge))].map(async (check) => {
      const conditions = await check;
      await Promise.all(conditions.map((condition) => this.saw(condition)));
      return conditions.map(({ key }) => key);
    });
    const known = new Set((await Promise.all(checks)).flat());
    for (const key of this.states.keys()) if (!known.has(key)) this.states.delete(key);
  }

  private async agentNow(): Promise<Condition[]> {
    const problems = await this.watched.folderProblems();
    return [
      {
        key: "state folder",
        out: problems.length > 0,
        begins: () => `agent: ${problems.join("; ")}`,
        ends: (after) => `agent: its state folder is good again, after ${after}`,
        data: {},
      },
      {
        key: "guard",
        out: !this.watched.guarded(),
        begins: () => `agent: ${UNGUARDED}`,
        ends: (after) => `agent: something restarts it again when it dies, after ${after}`,
        data: {},
      },
    ];
  }

  private async edgeNow(edge: string): Promise<Condition[]> {
    const { host } = this.watched;
    const haproxy = host.haproxy(edge);
    const of = `HAProxy of edge ${edge}`;
    let hangs: string | undefined;
    const weights = haproxy.runs()
      ? await haproxy.weights().catch((error: Error) => {
          hangs = error.message;
          return undefined;
        })
      : undefined;
    const runs = haproxy.runs();
    return [
      {
        key: `${edge} runs`,
        out: !runs,
        begins: () => `${of} does not run: the agent tries to start it`,
        ends: (after) => `${of} runs again, after ${after}`,
        data: { edge },
      },
      {
        key: `${edge} answers`,
        out: runs ? hangs !== undefined : undefined,
        begins: () => `${of} does not answer: ${hangs}`,
        ends: (after) => `${of} answers again, after ${after}`,
        data: { edge },
      },
      ...requestsLeadTo(host.working(), edge).map((backend) => this.backendNow(edge, backend, weights)),
    ];
  }

  private backendNow(edge: string, backend: string, weights: ReadonlyMap<string, number> | undefined): Condition {
    const weight = weights?.get(backend);
    return {
      key: `${edge}/${backend}`,
      // One that is not there yet is made by the same update as a rule.
      out: weight === undefined ? undefined : weight === 0,
      begins: () => this.outage(edge, backend),
      ends: (after) => `edge ${edge}: backend ${backend} takes requests again, after ${after}`,
      data: { edge, backend },
    };
  }

  private async outage(edge: string, backend: string): Promise<string | undefined> {
    const { host } = this.watched;
    // The next look tells of a HAProxy that has ended, or hangs, by now.
    const observation = await host
      .haproxy(edge)
      .observe()
      .catch(() => undefined);
    const health = observation && host.backendsHealth(edge, observation)[backend];
    return health !== undefined && isOut(health) ? `edge ${edge}: ${outageText(backend, health)}` : undefined;
  }

  private async saw({ key, out, begins, ends, data }: Condition): Promise<void> {
    if (out === undefined) return;
    const before = this.states.get(key);
    const state: State = { out, checks: before?.out === out ? before.checks + 1 : 1, reportedAt: before?.reportedAt };
    this.states.set(key, state);
    if (state.checks < AGREEING || out === (state.reportedAt !== undefined)) return;
    const message = state.reportedAt === undefined ? await begins() : ends(sinceText(state.reportedAt));
    if (message === undefined) return;
    state.reportedAt = out ? Date.now() : undefined;
    this.watched.events.emit(message, data);
  }
}

function sinceText(at: number): string {
  return formatMilliseconds(Math.max(1000, Math.round((Date.now() - at) / 1000) * 1000));
}
