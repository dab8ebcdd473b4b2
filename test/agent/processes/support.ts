import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { TestContext } from "node:test";
import { findMarked, type Identity, isDead, readStat, signalProcess } from "../../../src/agent/processes/identity";
import {
  type ProcessEvent,
  ProcessManager,
  type ProcessRecord,
  type ProcessSpec,
} from "../../../src/agent/processes/process-manager";
import { until } from "../../support/until";

const AGENT = resolve("test/fixtures/processes/agent.ts");

export interface Bench {
  directory: string;
  marker: string;
  events: ProcessEvent[];
  /** Opens a process host on the folder; closed after the test. */
  open: () => Promise<ProcessManager>;
  /** Launches from another Node.js process, and kills that with SIGKILL. */
  launchFromDyingAgent: (launches: Record<string, ProcessSpec>) => Promise<ProcessRecord[]>;
}

/** A folder and a marker of the test's own; whatever carries the marker is killed after the test. */
export async function bench(t: TestContext, directory?: string): Promise<Bench> {
  const folder = directory ?? (await mkdtemp(join(tmpdir(), "sluice-p-")));
  const marker = `test-${randomUUID()}`;
  const hosts: ProcessManager[] = [];
  const events: ProcessEvent[] = [];
  t.after(async () => {
    for (const host of hosts) host.close();
    await until("nothing carries the marker", async () => {
      const left = await findMarked(marker);
      for (const identity of left) signalProcess(identity, "SIGKILL");
      return left.length === 0;
    });
    await rm(folder, { recursive: true, force: true });
  });
  return {
    directory: folder,
    marker,
    events,
    open: async () => {
      const host = await ProcessManager.open({ directory: folder, marker, onEvent: (event) => events.push(event) });
      hosts.push(host);
      return host;
    },
    launchFromDyingAgent: async (launches) => {
      const agent = spawn(process.execPath, [...process.execArgv, AGENT, folder, marker, JSON.stringify(launches)], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const [line] = (await once(agent.stdout, "data")) as [Buffer];
      agent.kill("SIGKILL");
      await once(agent, "exit");
      return JSON.parse(line.toString()) as ProcessRecord[];
    },
  };
}

/** A shell script as a process. */
export function script(text: string, rest: Partial<ProcessSpec> = {}): ProcessSpec {
  return { argv: ["/bin/sh", "-c", text], cwd: tmpdir(), env: { PATH: process.env.PATH ?? "" }, labels: {}, ...rest };
}

/** The record with which the process's exit is announced; called before whatever makes it exit. */
export function nextExit(host: ProcessManager, id: string): Promise<ProcessRecord> {
  const exits: ProcessRecord[] = [];
  host.on("exit", (record) => exits.push(record));
  return until(`exit of ${id}`, () => exits.find((record) => record.id === id), { intervalMs: 5 });
}

/** Waits until the process's output has this line. */
export async function output(host: ProcessManager, id: string, line: RegExp): Promise<string> {
  return until(`output of ${id} has ${line}`, async () =>
    (await host.tail(id, { lines: 50 })).find((one) => line.test(one)),
  );
}

/** The process with this pid, which must live. */
export function identityOf(pid: number | undefined): Identity {
  const stat = pid === undefined ? undefined : readStat(pid);
  // A zombie is there until its parent, or init, looks at it: whether it is found would be chance.
  assert(stat !== undefined && !isDead(stat), `process ${pid} lives`);
  return { pid: stat.pid, startTime: stat.startTime };
}

export async function variablesOf(pid: number | undefined): Promise<string[]> {
  // Empty for a moment while a program takes the place of another one.
  const text = await until("its environment", () => readFile(`/proc/${pid}/environ`, "utf8"));
  return text.split("\0").slice(0, -1).sort();
}
