import { join } from "node:path";
import type { Events } from "../events/events";
import { runtimeSocket } from "../haproxy/edge-files";
import { Haproxy } from "../haproxy/haproxy";
import type { ProcessManager } from "../processes/process-manager";
import { assertLockedHere } from "../state/folder-lock";

export interface HaproxiesParts {
  /** Folder of the agent; each edge has a folder of its own below it. */
  directory: string;
  haproxyBinary: string;
  /** Path of the mirror's socket. */
  mirrorSocket: string;
  processes: ProcessManager;
  events: Events;
}

/** The HAProxy of each edge of this host, by the edge's name. */
export class Haproxies {
  private readonly byEdge = new Map<string, Haproxy>();

  constructor(private readonly parts: HaproxiesParts) {}

  /** The HAProxy of an edge, whether it runs or not. */
  of(edge: string): Haproxy {
    const known = this.byEdge.get(edge);
    if (known !== undefined) return known;
    const { processes, haproxyBinary, mirrorSocket, events } = this.parts;
    const haproxy = new Haproxy({
      name: edge,
      directory: this.folderOf(edge),
      processes,
      binary: haproxyBinary,
      mirror: mirrorSocket,
      assertOwnFolder: () => assertLockedHere(this.parts.directory),
      log: (message, data) => events.emit(message, { edge, ...data }),
    });
    this.byEdge.set(edge, haproxy);
    return haproxy;
  }

  forget(edge: string): void {
    this.byEdge.delete(edge);
  }

  folderOf(edge: string): string {
    return join(this.parts.directory, "edges", edge);
  }

  /** Path of the runtime API of an edge's HAProxy. */
  runtimeSocketOf(edge: string): string {
    return runtimeSocket(this.folderOf(edge));
  }

  /** Connections of all edges to an address, and whether any of them may send it more. */
  async connections(address: string, port: number): Promise<{ connections: number; mayReceive: boolean }> {
    const all = await Promise.all(this.known().map((haproxy) => haproxy.connections(address, port)));
    return {
      connections: all.reduce((sum, { connections }) => sum + connections, 0),
      mayReceive: all.some(({ mayReceive }) => mayReceive),
    };
  }

  /** Cuts at once what is left on the servers of all edges at an address that leave. */
  async cut(address: string, port: number): Promise<void> {
    await Promise.all(this.known().map((haproxy) => haproxy.cut(address, port)));
  }

  /** Tells all edges that what listens at an address is gone, or back. */
  async notifyHealth(address: string, port: number, health: "up" | "down"): Promise<void> {
    await Promise.all(this.known().map((haproxy) => haproxy.notifyHealth(address, port, health)));
  }

  private known(): Haproxy[] {
    return [...this.byEdge.values()];
  }
}
