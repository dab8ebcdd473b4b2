import { downText, errorsText } from "../../model/edge/backend-health";
import type { EdgeSpec } from "../../model/edge/edge";
import { UNGUARDED } from "../../model/protocol/agent";
import { formatMilliseconds } from "../../model/types/duration";
import type { Events } from "../events/events";
import { certificatesOf } from "../haproxy/config/certificates";
import type { ErrorShare } from "../haproxy/error-shares";
import type { BackendTotals } from "../haproxy/runtime/backend-totals";
import { SocketsLost } from "../haproxy/runtime/lost-sockets";
import type { FolderLook } from "../state/state-folder";
import { requestsLeadTo } from "./backend-health";
import type { Host } from "./host";

/** Pause between two checks while all is as it was, and before the one that confirms a difference, in milliseconds. */
const CHECK_MS = 3000;
const CONFIRM_MS = 1000;
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
  /** Unique among those of its look. */
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
  host: Pick<Host, "working" | "waits" | "haproxy" | "backendsHealth"> & {
    reconciler: Pick<Host["reconciler"], "bringBack">;
  };
  events: Pick<Events, "emit">;
  folder: readonly FolderLook[];
  /** Whether something restarts the agent when it dies. */
  guarded: () => boolean;
}

/** A look, and the conditions that it tells of. */
interface Look {
  name: string;
  conditions: () => Condition[] | Promise<Condition[]>;
}

/**
 * Tells as events when a backend that requests are led to loses its last server, and when it has one again; likewise of a HAProxy
 * that does not run or hangs, of the agent's state folder and of its guard. A HAProxy that can't be reached is brought back. Looks
 * do not wait for each other, so that one that hangs hides nothing else. A look at an edge asks HAProxy for one row per backend.
 */
export class OutageWatch {
  /** By look, and by the key of a condition. */
  private readonly states = new Map<string, Map<string, State>>();
  private readonly underWay = new Set<string>();
  private timer: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(private readonly watched: Watched) {}

  start(): void {
    const looks = this.looks();
    for (const name of this.states.keys()) if (!looks.some((look) => look.name === name)) this.states.delete(name);
    for (const look of looks) if (!this.underWay.has(look.name)) void this.check(look);
    this.checkIn(CHECK_MS);
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
  }

  private checkIn(ms: number): void {
    clearTimeout(this.timer);
    if (!this.closed) this.timer = setTimeout(() => this.start(), ms);
  }

  private looks(): Look[] {
    const { host, folder, guarded } = this.watched;
    const edges = Object.keys(host.working().edges).filter((edge) => !host.waits(edge));
    return [
      { name: "guard", conditions: () => [guardNow(guarded())] },
      ...folder.map((look) => ({ name: `its ${look.subject}`, conditions: () => folderNow(look) })),
      ...edges.map((edge) => ({ name: `edge ${edge}`, conditions: () => this.edgeNow(edge) })),
    ];
  }

  private async check({ name, conditions }: Look): Promise<void> {
    this.underWay.add(name);
    try {
      const found = await conditions();
      const states = this.states.get(name) ?? new Map<string, State>();
      this.states.set(name, states);
      await Promise.all(found.map((condition) => this.saw(states, condition)));
      for (const key of states.keys()) if (!found.some((each) => each.key === key)) states.delete(key);
      if ([...states.values()].some((state) => state.checks < AGREEING && isNews(state))) this.checkIn(CONFIRM_MS);
    } finally {
      this.underWay.delete(name);
    }
  }

  private async edgeNow(edge: string): Promise<Condition[]> {
    const { host } = this.watched;
    const haproxy = host.haproxy(edge);
    const of = `HAProxy of edge ${edge}`;
    let hangs: Error | undefined;
    const totals = haproxy.runs()
      ? await haproxy.totals().catch((error: Error) => {
          hangs = error;
          return undefined;
        })
      : undefined;
    const runs = haproxy.runs();
    const errors = haproxy.errorShares();
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
        begins: () => {
          if (!(hangs instanceof SocketsLost)) return `${of} does not answer: ${hangs?.message}`;
          void host.reconciler.bringBack(edge);
          return hangs.message;
        },
        ends: (after) => `${of} answers again, after ${after}`,
        data: { edge },
      },
      ...requestsLeadTo(host.working(), edge).map((backend) => this.backendNow(edge, backend, totals)),
      ...[...(totals?.keys() ?? [])].map((backend) => errorsNow(edge, backend, errors[backend])),
      ...(await certificatesNow(edge, host.working().edges[edge])),
    ];
  }

  private backendNow(edge: string, backend: string, totals: ReadonlyMap<string, BackendTotals> | undefined): Condition {
    const weight = totals?.get(backend)?.weight;
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
    const text = health && downText(backend, health);
    return text && `edge ${edge}: ${text}`;
  }

  private async saw(states: Map<string, State>, { key, out, begins, ends, data }: Condition): Promise<void> {
    if (out === undefined) return;
    const before = states.get(key);
    const state: State = { out, checks: before?.out === out ? before.checks + 1 : 1, reportedAt: before?.reportedAt };
    states.set(key, state);
    if (state.checks < AGREEING || !isNews(state)) return;
    const message = state.reportedAt === undefined ? await begins() : ends(sinceText(state.reportedAt));
    if (message === undefined) return;
    state.reportedAt = out ? Date.now() : undefined;
    this.watched.events.emit(message, data);
  }
}

function errorsNow(edge: string, backend: string, share: ErrorShare | undefined): Condition {
  return {
    key: `${edge}/${backend} errors`,
    out: share !== undefined,
    begins: () => share && `edge ${edge}: ${errorsText(backend, share)}`,
    ends: (after) => `edge ${edge}: backend ${backend} answers most requests well again, after ${after}`,
    data: { edge, backend },
  };
}

async function certificatesNow(edge: string, spec: EdgeSpec | undefined): Promise<Condition[]> {
  const certificates = spec === undefined ? [] : await certificatesOf(spec, new Date());
  return certificates.map(({ path, problem }) => ({
    key: `${edge} ${path}`,
    out: problem !== undefined,
    begins: () => `edge ${edge}: ${problem}`,
    ends: (after) => `edge ${edge}: its certificate ${path} is good again, after ${after}`,
    data: { edge },
  }));
}

/** Whether it is not as it was said last. */
function isNews({ out, reportedAt }: State): boolean {
  return out !== (reportedAt !== undefined);
}

function guardNow(guarded: boolean): Condition {
  return {
    key: "guarded",
    out: !guarded,
    begins: () => `agent: ${UNGUARDED}`,
    ends: (after) => `agent: something restarts it again when it dies, after ${after}`,
    data: {},
  };
}

async function folderNow({ subject, good, see }: FolderLook): Promise<Condition[]> {
  const seen = await see();
  const [problems, unseen] = seen === undefined ? [] : "unseen" in seen ? [undefined, seen.unseen] : [seen.problems];
  return [
    {
      key: "answers",
      out: seen && unseen !== undefined,
      begins: () => `agent: ${unseen}`,
      ends: (after) => `agent: its ${subject} can be checked again, after ${after}`,
      data: {},
    },
    {
      key: "good",
      out: problems && problems.length > 0,
      begins: () => `agent: ${problems?.join("; ")}`,
      ends: (after) => `agent: its ${subject} ${good} again, after ${after}`,
      data: {},
    },
  ];
}

function sinceText(at: number): string {
  return formatMilliseconds(Math.max(1000, Math.round((Date.now() - at) / 1000) * 1000));
}
