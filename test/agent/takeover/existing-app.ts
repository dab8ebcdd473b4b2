import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { send } from "../../../src/agent/processes/identity";
import type { TakeoverEntry } from "../../../src/model/process/takeover";
import type { Cleanup } from "../../support/agent";
import { until } from "../../support/until";

/** Answers with `old`, its folder and a variable of its environment; how it takes SIGTERM is said by OLD_STOP. */
const APP = `
const { createServer } = require("node:http");
const server = createServer((request, response) => {
  response.setHeader("x-release", "old");
  response.end([process.pid, process.cwd(), process.env.OLD_VARIABLE].join(" "));
});
server.keepAliveTimeout = 60_000;
process.on("SIGTERM", () => {
  console.log("SIGTERM");
  if (process.env.OLD_STOP === "never") return;
  setTimeout(() => process.exit(0), Number(process.env.OLD_STOP));
});
if (process.argv[2] === "none") setInterval(() => undefined, 1000);
else server.listen(Number(process.argv[2]), "127.0.0.1");
console.log("up");
`;

export interface ExistingApp {
  folder: string;
  /** Starts an existing process; it and its successors are ended with the test. */
  start(argv: string[], env?: Record<string, string>): Promise<number>;
  /** The app's command line. @param port `none`: it listens nowhere */
  app(port: number | "none"): string[];
  /** Its processes that run now. */
  running(): Promise<number[]>;
}

/** A world without Sluice, in a folder of its own. */
export async function existingApp(t: Cleanup): Promise<ExistingApp> {
  const folder = await mkdtemp(join(tmpdir(), "sl-old-"));
  const mark = randomUUID();
  const script = join(folder, "old app.cjs");
  await writeFile(script, APP);
  const running = async () => {
    const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
    return pids.filter((pid) => environmentOf(pid).includes(`OLD_WORLD=${mark}`));
  };
  t.after(async () => {
    await until("the old world to be gone", async () => {
      const left = await running();
      for (const pid of left) send(pid, "SIGKILL");
      return left.length === 0;
    });
    await rm(folder, { recursive: true, force: true });
  });
  return {
    folder,
    running,
    app: (port) => [process.execPath, script, String(port)],
    start: async ([command = "", ...args], env = {}) => {
      const child = spawn(command, args, {
        cwd: folder,
        env: { PATH: process.env.PATH, OLD_WORLD: mark, OLD_VARIABLE: "kept", OLD_STOP: "0", ...env },
        detached: true,
        stdio: "ignore",
      });
      child.unref();
      const pid = child.pid ?? 0;
      await until(`process ${pid} to run its program`, () => readFileSync(`/proc/${pid}/cmdline`, "utf8") !== "");
      return pid;
    },
  };
}

function environmentOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
  } catch {
    // It has ended.
    return [];
  }
}

/** Answer on a port: `old` or a release's id, with the body. */
export function ask(port: number): Promise<{ release: string; body: string }> {
  return new Promise((resolve, reject) => {
    const call = get({ host: "127.0.0.1", port, agent: false }, (response) => {
      let body = "";
      response.on("data", (chunk: Buffer) => {
        body += chunk.toString();
      });
      response.on("end", () => resolve({ release: String(response.headers["x-release"] ?? body), body }));
      response.on("error", reject);
    });
    call.on("error", reject);
  });
}

/** Waits until a port is answered by somebody. */
export function answers(port: number, release: string): Promise<unknown> {
  return until(`port ${port} to be answered by ${release}`, async () => (await ask(port)).release === release);
}

/** An edge that takes over. */
export function takingEdge(port: number, takeover: Partial<TakeoverEntry>[]) {
  return {
    verb: "edge.set" as const,
    edge: "main",
    spec: { frontends: { http: { binds: [{ address: "127.0.0.1", port }], defaultBackend: "web" } }, takeover },
  };
}
