import { writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { setPriority } from "node:os";
import { codeOf } from "../../model/types/errors";
import { type Batch, MessageReader, type Sink } from "./messages";
import type { Order, ProcessFigures, Report, RouteOrders } from "./orders";
import { Reservoir } from "./reservoir";
import { ACK_SECONDS, acknowledgement } from "./script";
import { Shadow } from "./shadow";
import { listenForWorkers } from "./worker-socket";

const SWEEP_MS = 50;
/** Time after this process was stopped in which whatever it can read at once may have waited. */
const STALE_MS = 500;
/** Threads of workers whose last batch is remembered: each reload brings new ones. */
const SOURCES = 4096;
/** Between two reports to the meter, which keeps seconds. */
const COUNT_MS = 500;
/** Nice value: a third of the CPU time that others get of a busy processor, which is enough not to starve. */
const NICE = 5;

/**
 * The mirror's process, one for each agent that has something to mirror. It has a low priority, so that real requests, the
 * agent and the apps come before copies, and ends with its agent.
 */
export function runMirrorProcess(): void {
  yieldToAll();
  const desk = new Desk();
  const sweeping = setInterval(() => desk.sweep(), SWEEP_MS);
  const report = (message: Report) => process.send?.(message);
  const counting = setInterval(() => desk.count(report), COUNT_MS);
  process.on("message", (order: Order) => {
    void desk.follow(order, report).catch((error: Error) => report({ kind: "failed", message: error.message }));
  });
  process.on("disconnect", () => {
    clearInterval(sweeping);
    clearInterval(counting);
    process.exit(0);
  });
}

function yieldToAll(): void {
  setPriority(NICE);
  try {
    // Linux shares the CPU by sessions first, where it is set to (sched(7), "The autogroup feature").
    writeFileSync("/proc/self/autogroup", String(NICE));
  } catch (error) {
    const code = codeOf(error) ?? "";
    if (!["ENOENT", "EACCES", "EPERM", "EROFS", "EINVAL", "EAGAIN"].includes(code)) throw error;
  }
}

/** Everything that the mirror's process has. */
class Desk {
  private readonly shadows = new Map<string, Shadow>();
  private readonly samples = new Map<string, Reservoir>();
  private readonly connections = new Set<Socket>();
  private routes: Record<string, RouteOrders> = {};
  /** Number of the last batch that was taken, by its source; the newest ones last. */
  private readonly taken = new Map<string, number>();
  private ranAt = performance.now();
  private staleUntil = 0;
  private readonly sink: Sink = {
    copy: (copy) => this.shadows.get(copy.route)?.send(copy),
    sample: (copy) => this.samples.get(copy.route)?.add(copy, Date.now(), Math.random),
    dropped: (route, reason, copies) => this.shadows.get(route)?.drop(reason, copies),
  };

  async follow(order: Order, report: (message: Report) => void): Promise<void> {
    if (order.do === "configure") return this.configure(order.routes);
    if (order.do === "listen") {
      await listenForWorkers(
        createServer((socket) => this.accept(socket)),
        order.path,
        order.group,
      );
      report({ kind: "listening" });
      return;
    }
    const { id } = order;
    const answer = order.what === "figures" ? this.figures() : (this.samples.get(order.route)?.requests() ?? []);
    report({ kind: "answer", id, answer });
  }

  sweep(): void {
    this.isStale();
    for (const shadow of this.shadows.values()) shadow.sweep();
  }

  /** Reports what was counted since the last time. */
  count(report: (message: Report) => void): void {
    const counts = [...this.shadows].flatMap(([route, { counts: counted }]) =>
      counted.take().map(({ edge, cell }) => ({ edge, route, cell })),
    );
    if (counts.length > 0) report({ kind: "counted", counts });
  }

  private configure(routes: Record<string, RouteOrders>): void {
    this.routes = routes;
    for (const [route, { mirror, sample }] of Object.entries(routes)) {
      if (mirror !== undefined) {
        const known = this.shadows.get(route);
        if (known === undefined) this.shadows.set(route, new Shadow(mirror));
        else known.configure(mirror);
      }
      if (sample !== undefined) {
        const known = this.samples.get(route);
        if (known === undefined) this.samples.set(route, new Reservoir(sample.requests));
        else known.resize(sample.requests);
      }
    }
    for (const [route, shadow] of this.shadows)
      if (routes[route]?.mirror === undefined) {
        this.shadows.delete(route);
        shadow.close();
      }
    for (const route of this.samples.keys()) if (routes[route]?.sample === undefined) this.samples.delete(route);
  }

  private figures(): ProcessFigures {
    const routes = Object.keys(this.routes).flatMap((route) => {
      const shadow = this.shadows.get(route);
      return shadow === undefined ? [] : [[route, shadow.figures.toAnswer(shadow.pending)] as const];
    });
    return { connections: this.connections.size, routes: Object.fromEntries(routes) };
  }

  private accept(socket: Socket): void {
    this.connections.add(socket);
    const reader = new MessageReader((batch) => {
      this.take(batch);
      socket.write(acknowledgement(this.refused(batch.edge)));
    });
    socket.on("data", (chunk: Buffer) => {
      // HAProxy drops copies that are not acknowledged; those that came while this process was stopped are too old to be sent.
      if (this.isStale()) {
        socket.destroy();
        return;
      }
      try {
        reader.push(chunk);
      } catch (error) {
        socket.destroy(error as Error);
      }
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.connections.delete(socket));
  }

  /** Routes of which an edge's copies would only be dropped. */
  private refused(edge: string): [route: string, reason: string][] {
    return [...this.shadows].flatMap(([route, shadow]): [string, string][] => {
      const reason = shadow.refusal(edge);
      return reason === undefined ? [] : [[route, reason]];
    });
  }

  /** Whether this process was stopped a moment ago, for longer than HAProxy waits. */
  private isStale(): boolean {
    const now = performance.now();
    if (now - this.ranAt > ACK_SECONDS * 1000) this.staleUntil = now + STALE_MS;
    this.ranAt = now;
    return now < this.staleUntil;
  }

  /** Takes a batch once, however often it comes. */
  private take({ source, number, deliver }: Batch): void {
    if (number <= (this.taken.get(source) ?? 0)) return;
    this.taken.delete(source);
    this.taken.set(source, number);
    for (const oldest of this.taken.keys()) {
      if (this.taken.size <= SOURCES) break;
      this.taken.delete(oldest);
    }
    deliver(this.sink);
  }
}
