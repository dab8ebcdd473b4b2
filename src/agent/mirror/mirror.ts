import { type ChildProcess, fork } from "node:child_process";
import { rm } from "node:fs/promises";
import { dirname } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { hostPort } from "../../model/edge/edge";
import type { MirrorFigures } from "../../model/route/mirror";
import { milliseconds } from "../../model/types/duration";
import { withTimeout } from "../../support/waiting";
import { INSTANCE_VARIABLE, MARKER_VARIABLE } from "../processes/identity";
import { backendsOf, type Desired } from "../state/desired";
import type { Order, ProcessFigures, Report, RouteOrders, ShadowCount } from "./orders";
import type { SampledRequest } from "./reservoir";
import { workerSocket } from "./worker-socket";

/** Argument by which the agent's program runs the mirror's process instead. */
export const MIRROR_ARGUMENT = "--mirror";
/** Heap of the mirror's process, in MiB: it ends at more, and is started again. */
const HEAP_MIB = 256;
/** Delays until it is started again: doubling, capped; from the first again where it ran for longer than the cap. */
const RESTART_FIRST_MS = 100;
const RESTART_CAP_MS = 5000;
/** Time that it has to listen, in milliseconds. */
const LISTEN_MS = 10_000;
/** Time that it has for an answer, in milliseconds. */
const ANSWER_MS = 2000;
/** Pause between two checks for dropped copies, and between two events on the same route, in milliseconds. */
const CHECK_MS = 5000;
const EVENT_MS = 60_000;

export interface MirrorOptions {
  /** The agent's state folder. */
  directory: string;
  /** Group of HAProxy's workers, where they run under another account. */
  group: number | undefined;
  /** The agent's own program. */
  program: string;
  /** The agent's id, by which its processes are found. */
  marker: string;
  log: (message: string, data?: Record<string, unknown>) => void;
  /** Told what was counted of the shadows' answers, about twice a second. @default nobody */
  counted?: (count: ShadowCount) => void;
}

/** State of the mirror now. */
export interface MirrorAnswer {
  /** When the rest was true, ISO 8601: earlier where the mirror's process has no time to answer, or is stopped. */
  at: string;
  /** Process id; null where nothing is mirrored, or it is just started again. */
  pid: number | null;
  /** Connections of HAProxy's workers, one for each thread that has copies. */
  connections: number;
  /** Counters of the copies, by route. */
  routes: Record<string, MirrorFigures>;
}

/** Path at which HAProxy's workers reach the mirror. */
export function mirrorSocket(directory: string, group: number | undefined): string {
  return workerSocket(directory, group, "mirror.sock");
}

/**
 * Keeps the mirror's process, which takes copies of requests from HAProxy and sends them to shadows, running while a route
 * has a mirror or a sample.
 */
export class Mirror {
  private child: ChildProcess | undefined;
  private routes: Record<string, RouteOrders> = {};
  private readonly pending = new Map<number, (answer: Extract<Report, { kind: "answer" }>["answer"]) => void>();
  private readonly reported = new Map<string, { drops: number; at: number }>();
  private last: MirrorAnswer | undefined;
  private question = 0;
  private listening: Promise<void> = Promise.resolve();
  private heard: () => void = () => undefined;
  private restartMs = RESTART_FIRST_MS;
  private restarting: NodeJS.Timeout | undefined;
  private checking: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(private readonly options: MirrorOptions) {}

  /** Mirrors and samples what is desired. Cheap where nothing changed. */
  want(desired: Desired): void {
    const routes = ordersOf(desired);
    if (isDeepStrictEqual(routes, this.routes)) return;
    this.routes = routes;
    for (const route of this.reported.keys()) if (routes[route] === undefined) this.reported.delete(route);
    if (this.child !== undefined) this.send({ do: "configure", routes });
    if (Object.keys(routes).length === 0) this.end();
    else if (this.child === undefined && this.restarting === undefined) this.start();
  }

  /** Resolves once it listens for the wanted copies, or after some seconds without: HAProxy counts copies that it can't deliver. */
  async ready(): Promise<void> {
    await withTimeout(this.listening, LISTEN_MS, () => undefined);
  }

  async figures(): Promise<MirrorAnswer> {
    const figures = (await this.ask({ what: "figures" })) as ProcessFigures | undefined;
    const pid = this.child?.pid ?? null;
    if (figures !== undefined) this.last = { at: new Date().toISOString(), pid, ...figures };
    if (pid !== null && this.last?.pid === pid) return this.last;
    return { at: new Date().toISOString(), pid, connections: 0, routes: {} };
  }

  /** The sample of a route; undefined if it has none. */
  async sample(route: string): Promise<readonly SampledRequest[] | undefined> {
    if (this.routes[route]?.sample === undefined) return undefined;
    return ((await this.ask({ what: "sample", route })) ?? []) as readonly SampledRequest[];
  }

  /** Ends the mirror's process, and removes what HAProxy reached it by. */
  async close(): Promise<void> {
    this.closed = true;
    this.end();
    const { directory, group } = this.options;
    const path = mirrorSocket(directory, group);
    await rm(group === undefined ? path : dirname(path), { recursive: true, force: true });
  }

  private end(): void {
    clearTimeout(this.restarting);
    clearInterval(this.checking);
    this.restarting = undefined;
    this.heard();
    const child = this.child;
    this.child = undefined;
    // It keeps nothing that outlives it, and may be stopped.
    child?.kill("SIGKILL");
  }

  private start(): void {
    const { directory, group, program, marker, log } = this.options;
    const child = fork(program, [MIRROR_ARGUMENT], {
      // With threads that compile and collect garbage, it would take more than one core from the real requests at once.
      execArgv: [...process.execArgv, `--max-old-space-size=${HEAP_MIB}`, "--single-threaded"],
      env: { ...process.env, [MARKER_VARIABLE]: marker, [INSTANCE_VARIABLE]: "mirror" },
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      serialization: "advanced",
      // The scheduler may share the CPU by sessions, within which alone a priority then counts.
      detached: true,
    });
    this.child = child;
    const began = performance.now();
    child.on("message", (report: Report) => this.take(report));
    child.on("error", (error) => {
      log(`the mirror's process: ${error.message}`);
      // One that could not be started has no exit.
      if (child.pid === undefined) this.startAgain(child, began, "it could not be started");
    });
    child.once("exit", (code, signal) => this.startAgain(child, began, String(signal ?? code)));
    this.listening = new Promise((resolve) => {
      this.heard = resolve;
    });
    this.send({ do: "configure", routes: this.routes });
    this.send({ do: "listen", path: mirrorSocket(directory, group), group });
    this.checking = setInterval(() => void this.checkDrops(), CHECK_MS);
  }

  private startAgain(child: ChildProcess, began: number, why: string): void {
    if (this.child !== child) return;
    this.child = undefined;
    clearInterval(this.checking);
    if (performance.now() - began > RESTART_CAP_MS) this.restartMs = RESTART_FIRST_MS;
    this.options.log(`the mirror's process ended (${why}): it is started again; requests go on`, {
      inMs: this.restartMs,
    });
    this.restarting = setTimeout(() => {
      this.restarting = undefined;
      if (!this.closed) this.start();
    }, this.restartMs);
    this.restartMs = Math.min(this.restartMs * 2, RESTART_CAP_MS);
  }

  private send(order: Order): void {
    // Without a callback, what can't be sent would end the agent.
    this.child?.send(order, () => undefined);
  }

  private take(report: Report): void {
    if (report.kind === "listening") this.heard();
    if (report.kind === "counted") for (const count of report.counts) this.options.counted?.(count);
    if (report.kind === "failed") this.options.log(`the mirror's process: ${report.message}`);
    if (report.kind === "answer") this.pending.get(report.id)?.(report.answer);
  }

  /** Undefined if it does not run, or does not answer in time. */
  private async ask(question: { what: "figures" } | { what: "sample"; route: string }) {
    if (this.child === undefined) return undefined;
    const id = ++this.question;
    const answered = new Promise<Extract<Report, { kind: "answer" }>["answer"]>((resolve) => {
      this.pending.set(id, resolve);
    });
    this.send({ do: "tell", id, ...question });
    const answer = await withTimeout(answered, ANSWER_MS, () => undefined);
    this.pending.delete(id);
    return answer;
  }

  /** Tells of routes whose copies are dropped, once a minute at most. */
  private async checkDrops(): Promise<void> {
    const { routes } = await this.figures();
    for (const [route, { dropped, received, answered }] of Object.entries(routes)) {
      const drops = Object.values(dropped).reduce((sum, copies) => sum + copies, 0);
      const before = this.reported.get(route) ?? { drops: 0, at: Number.NEGATIVE_INFINITY };
      if (drops <= before.drops || performance.now() - before.at < EVENT_MS) continue;
      this.reported.set(route, { drops, at: performance.now() });
      this.options.log(`copies of route ${route} are dropped: its requests go on`, {
        route,
        since: drops - before.drops,
        received,
        answered,
        dropped,
      });
    }
  }
}

/** Orders for the mirror, by the desired state. */
function ordersOf(desired: Desired): Record<string, RouteOrders> {
  const orders = Object.entries(desired.routes).flatMap(
    ([name, { edges, mirror, sample }]): [string, RouteOrders][] => {
      if (mirror === undefined && sample === undefined) return [];
      const servers = (edge: string, backend: string) =>
        Object.values(backendsOf(desired, edge)[backend]?.servers ?? {}).flatMap(({ address, port, state, weight }) =>
          state === "ready" && weight > 0 ? [hostPort(address, port)] : [],
        );
      return [
        [
          name,
          {
            ...(mirror !== undefined && {
              mirror: {
                timeoutMs: milliseconds(mirror.timeout),
                concurrency: mirror.concurrency,
                servers: Object.fromEntries(edges.map((edge) => [edge, servers(edge, mirror.to)])),
              },
            }),
            ...(sample !== undefined && { sample: { requests: sample.requests } }),
          },
        ],
      ];
    },
  );
  return Object.fromEntries(orders);
}
