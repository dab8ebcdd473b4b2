import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { temporaryFolder } from "../../test/support/agent";
import { freePorts } from "../../test/support/ports";
import { until } from "../../test/support/until";
import { answers, start } from "../support/processes";
import type { Scope } from "../support/scope";
import { PROBE_INTERVAL_MS, type Side, STABLE, startApp } from "./side";

const run = promisify(execFile);

/**
 * Rolls back as people do today: a script probes the candidate and, if that fails, writes HAProxy's config without it,
 * lets HAProxy check that, and reloads by SIGUSR2 (as systemd's unit does).
 */
export async function byHandSide(scope: Scope, health: string): Promise<Side> {
  const config = join(await temporaryFolder(scope), "haproxy.cfg");
  const port = await freePorts(1);
  const stable = await startApp(scope, STABLE);
  const write = async (candidate?: number) => {
    await writeFile(config, configOf({ port, stable, candidate }));
    await run("haproxy", ["-c", "-q", "-f", config]);
  };
  await write();
  const master = start(scope, ["haproxy", "-W", "-f", config]);
  const url = `http://127.0.0.1:${port}/`;
  await answers(url, "the hand-written HAProxy", master.errors);
  const red = async (): Promise<void> => {
    while ((await fetch(health)).ok) await sleep(PROBE_INTERVAL_MS);
    await write();
    process.kill(master.pid, "SIGUSR2");
  };
  return {
    name: "by hand",
    url,
    async promote(release) {
      await write(await startApp(scope, release));
      process.kill(master.pid, "SIGUSR2");
      await until(`release ${release} to have requests`, async () => {
        const response = await fetch(url, { headers: { connection: "close" } });
        return response.headers.get("x-release") === release;
      });
      return { rolledBack: red() };
    },
  };
}

function configOf({
  port,
  stable,
  candidate,
}: {
  port: number;
  stable: number;
  candidate?: number | undefined;
}): string {
  const backend = (name: string, at: number) => [`backend ${name}`, `  server one 127.0.0.1:${at} check`];
  return [
    "global",
    "  maxconn 4000",
    "  hard-stop-after 1h",
    "defaults",
    "  mode http",
    "  timeout connect 5s",
    "  timeout client 1m",
    "  timeout server 1m",
    "  timeout http-keep-alive 10s",
    "frontend web",
    `  bind 127.0.0.1:${port}`,
    ...(candidate === undefined ? [] : ["  use_backend candidate if { rand(100) lt 50 }"]),
    `  default_backend ${STABLE}`,
    ...backend(STABLE, stable),
    ...(candidate === undefined ? [] : backend("candidate", candidate)),
    "",
  ].join("\n");
}
