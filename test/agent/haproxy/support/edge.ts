import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import type { Server } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { TestContext } from "node:test";
import { findHaproxy } from "../../../../src/agent/haproxy/config/version";
import { Haproxy } from "../../../../src/agent/haproxy/haproxy";
import { ProcessManager } from "../../../../src/agent/processes/process-manager";
import { type BackendInput, type BackendSpec, backendSpec } from "../../../../src/model/edge/backend";
import { type EdgeInput, type EdgeSpec, edgeSpec } from "../../../../src/model/edge/edge";
import { freePorts } from "../../../support/ports";
import { startServer } from "../../../support/server";

export const binary = findHaproxy();

export interface Upstream {
  port: number;
  server: Server;
  requests: number;
  connections: number;
  /** Answers that wait for `release`. */
  release(): void;
}

/** A small HTTP server: `/hold` answers its first byte, and its last one when released; an upgrade is echoed. */
export async function upstream(t: TestContext, name: string): Promise<Upstream> {
  const held: (() => void)[] = [];
  const sockets = new Set<Socket>();
  const { port, server } = await startServer(t, (request, response) => {
    up.requests += 1;
    if (request.url !== "/hold") {
      response.end(JSON.stringify({ name, headers: request.headers }));
      return;
    }
    response.write("first ");
    held.push(() => response.end("last"));
  });
  server.on("connection", (socket) => {
    up.connections += 1;
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => sockets.delete(socket));
  });
  server.on("upgrade", (request, socket) => {
    const key = `${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
    const accept = createHash("sha1").update(key).digest("base64");
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
    );
    socket.on("error", () => socket.destroy());
    socket.pipe(socket);
  });
  const up: Upstream = {
    port,
    server,
    requests: 0,
    connections: 0,
    release: () => {
      for (const end of held.splice(0)) end();
    },
  };
  t.after(() => {
    for (const socket of sockets) socket.destroy();
  });
  return up;
}

/** An edge with its folder and process host, ended with the test. */
export class TestEdge {
  readonly messages: string[] = [];
  private constructor(
    readonly directory: string,
    readonly port: number,
    public processes: ProcessManager,
    public haproxy: Haproxy,
  ) {}

  static async open(t: TestContext): Promise<TestEdge> {
    const directory = await mkdtemp(join(tmpdir(), "slh-"));
    const processes = await ProcessManager.open({ directory: join(directory, "p"), marker: basename(directory) });
    const edge = new TestEdge(directory, await freePorts(1), processes, undefined as unknown as Haproxy);
    edge.haproxy = edge.make();
    t.after(async () => {
      await edge.haproxy.stop({ graceMs: 0 });
      edge.processes.close();
      await rm(directory, { recursive: true, force: true });
    });
    return edge;
  }

  get edgeFolder(): string {
    return join(this.directory, "edges", "web");
  }

  get configPath(): string {
    return join(this.edgeFolder, "haproxy.cfg");
  }

  get workerSocket(): string {
    return join(this.edgeFolder, "worker.sock");
  }

  /** As after an agent's restart: nothing remembered, everything read back. */
  async restartAgent(): Promise<void> {
    this.haproxy.close();
    this.processes.close();
    this.processes = await ProcessManager.open({
      directory: join(this.directory, "p"),
      marker: basename(this.directory),
    });
    this.haproxy = this.make();
    await this.haproxy.adopt();
  }

  spec(input: Partial<EdgeInput> = {}): EdgeSpec {
    return edgeSpec.parse({ frontends: { web: { binds: [{ port: this.port }], defaultBackend: "web" } }, ...input });
  }

  private make(): Haproxy {
    return new Haproxy({
      name: "web",
      directory: this.edgeFolder,
      processes: this.processes,
      binary,
      assertOwnFolder: async () => undefined,
      log: (message) => this.messages.push(message),
    });
  }
}

/** Backends of one named `web` with these servers by name and port. */
export function web(servers: Record<string, number>, more: Partial<BackendInput> = {}): Record<string, BackendSpec> {
  const entries = Object.entries(servers).map(([name, port]) => [name, { address: "127.0.0.1", port }]);
  return { web: backendSpec.parse({ servers: Object.fromEntries(entries), ...more }) };
}

/** A keep-alive client on a raw socket, which tells exactly what it got. */
export class RawClient {
  private buffer = "";
  private waiting: (() => void) | undefined;
  ended = false;
  failure: string | undefined;

  private constructor(private readonly socket: Socket) {
    socket.setEncoding("latin1");
    socket.on("data", (text: string) => {
      this.buffer += text;
      this.waiting?.();
    });
    socket.on("end", () => {
      this.ended = true;
      this.waiting?.();
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      this.failure = error.code ?? error.message;
      this.waiting?.();
    });
  }

  static open(port: number): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, "127.0.0.1", () => {
        socket.off("error", reject);
        resolve(new RawClient(socket));
      });
      socket.once("error", reject);
    });
  }

  /** Becomes a WebSocket, on which the upstream echoes every byte. */
  async upgrade(): Promise<void> {
    this.send(
      "GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    const head = await this.until("\r\n\r\n");
    if (!head.startsWith("HTTP/1.1 101 ")) throw new Error(`no WebSocket but ${head}`);
  }

  /** Whether the upstream still echoes. */
  async echoes(text: string): Promise<boolean> {
    this.send(text);
    await this.until(text);
    return true;
  }

  send(text: string): void {
    this.socket.write(text);
  }

  /** Everything received up to and with a text, taken out of the buffer. */
  async until(text: string): Promise<string> {
    for (;;) {
      const at = this.buffer.indexOf(text);
      if (at >= 0) {
        const found = this.buffer.slice(0, at + text.length);
        this.buffer = this.buffer.slice(at + text.length);
        return found;
      }
      if (this.failure !== undefined || this.ended)
        throw new Error(`connection ${this.failure ?? "ended"} after ${JSON.stringify(this.buffer.slice(0, 200))}`);
      await new Promise<void>((resolve) => {
        this.waiting = resolve;
      });
    }
  }

  /** One request; resolves with its status and whether the connection stays. */
  async get(path = "/"): Promise<{ status: number; stays: boolean }> {
    this.send(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`);
    const head = await this.until("\r\n\r\n");
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
    while (this.buffer.length < length) {
      if (this.failure !== undefined || this.ended) throw new Error("connection ended within a response");
      await new Promise<void>((resolve) => {
        this.waiting = resolve;
      });
    }
    this.buffer = this.buffer.slice(length);
    return { status: Number(head.split(" ")[1]), stays: !/connection: close/i.test(head) };
  }

  close(): void {
    this.socket.destroy();
  }
}

export interface Load {
  requests: number;
  failures: string[];
  stop(): Promise<void>;
}

/** Keep-alive clients that send requests one after the other until stopped, `pauseMs` apart. */
export function startLoad(port: number, { clients = 4, pauseMs = 2 } = {}): Load {
  let running = true;
  const load: Load = { requests: 0, failures: [], stop: async () => undefined };
  const one = async () => {
    let client: RawClient | undefined;
    while (running) {
      try {
        client ??= await RawClient.open(port);
        const { status, stays } = await client.get();
        load.requests += 1;
        if (status !== 200) load.failures.push(`status ${status}`);
        if (!stays) {
          client.close();
          client = undefined;
        }
      } catch (error) {
        load.failures.push((error as Error).message);
        client?.close();
        client = undefined;
      }
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    client?.close();
  };
  const all = Array.from({ length: clients }, one);
  load.stop = async () => {
    running = false;
    await Promise.all(all);
  };
  return load;
}
