import { execFile, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { temporaryFolder } from "../../test/support/agent";
import { freePortList, freePorts } from "../../test/support/ports";
import { answers, end, start } from "../support/processes";
import type { Scope } from "../support/scope";
import { PROBE_INTERVAL_MS, REPLICAS, type Side } from "./side";

const run = promisify(execFile);
/** Time that such scripts give the old release after the reload, in milliseconds. */
const GRACE_MS = 500;

/**
 * Switches as people do today: a script starts the new release, asks it until it answers, writes HAProxy's config anew,
 * lets HAProxy check it, reloads by SIGUSR2 (as systemd's unit does), and stops the old release a moment later.
 */
export async function byHandSide(scope: Scope): Promise<Side> {
  const folder = await temporaryFolder(scope);
  const config = join(folder, "haproxy.cfg");
  const template = readFileSync(join(__dirname, "by-hand.cfg"), "utf8");
  const port = await freePorts(1);
  const env = { PORT: String(port) };
  const running = new Set<number>();
  scope.after(() => {
    for (const pid of running) end(pid);
  });

  async function startRelease(release: string): Promise<{ pids: number[]; ports: number[] }> {
    const ports = await freePortList(REPLICAS);
    const pids = ports.map((each) => {
      const child = spawn(process.execPath, [join(__dirname, "app.mjs"), String(each), release], {
        detached: true,
        stdio: "ignore",
      });
      const { pid } = child;
      if (pid === undefined) throw new Error(`release ${release} could not be started`);
      running.add(pid);
      child.once("exit", () => running.delete(pid));
      return pid;
    });
    await Promise.all(ports.map(untilHealthy));
    return { pids, ports };
  }

  async function writeConfig(release: string, ports: number[]): Promise<void> {
    const servers = ports.map((each, index) => `  server ${release}-${index} 127.0.0.1:${each} check\n`);
    await writeFile(config, template + servers.join(""));
    await run("haproxy", ["-c", "-q", "-f", config], { env: { ...process.env, ...env } });
  }

  let current = await startRelease("r000");
  await writeConfig("r000", current.ports);
  const master = start(scope, ["haproxy", "-W", "-f", config], env);
  const url = `http://127.0.0.1:${port}/`;
  await answers(url, "the hand-written HAProxy", master.errors);
  return {
    name: "by hand",
    url,
    async promote(release) {
      const next = await startRelease(release);
      const healthyAt = Date.now();
      await writeConfig(release, next.ports);
      process.kill(master.pid, "SIGUSR2");
      const old = current;
      current = next;
      await sleep(GRACE_MS);
      for (const pid of old.pids) if (running.has(pid)) process.kill(pid, "SIGTERM");
      return healthyAt;
    },
  };
}

async function untilHealthy(port: number): Promise<void> {
  for (;;) {
    const status = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: "close" } }).then(
      (response) => response.status,
      () => 0,
    );
    if (status === 200) return;
    await sleep(PROBE_INTERVAL_MS);
  }
}
