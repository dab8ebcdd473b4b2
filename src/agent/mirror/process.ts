import { writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { setPriority } from "node:os";
import { codeOf } from "../../model/types/errors";
import { MessageReader, type Sink } from "./messages";
import type { Order, ProcessFigures, Report, RouteOrders } from "./orders";
import { Reservoir } from "./reservoir";
import { acknowledgement } from "./script";
import { Shadow } from "./shadow";
import { listenForWorkers } from "./worker-socket";

const SWEEP_MS = 50;
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
    report({ kind: "told", id, answer });
  }

  sweep(): void {
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
    const reader = new MessageReader(this.sinkOf(socket), Date.now);
    socket.on("data", (chunk: Buffer) => {
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

  private sinkOf(socket: Socket): Sink {
    return {
      copy: (copy) => this.shadows.get(copy.route)?.send(copy),
      sample: (copy) => this.samples.get(copy.route)?.add(copy, Date.now(), Math.random),
      dropped: (route, reason, copies) => this.shadows.get(route)?.drop(reason, copies),
      end: (edge) => socket.write(acknowledgement(this.refused(edge))),
    };
  }
}
