import { spawn, spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Cleanup } from "./agent";
import { freePorts } from "./ports";
import { until } from "./until";

/** Why tests that need Prometheus are skipped here; `false` where it is installed. */
export const withoutPrometheus: string | false =
  spawnSync("prometheus", ["--version"]).status === 0
    ? false
    : "no prometheus on PATH: install it (apt-get install prometheus)";

/** A real server that scrapes an address, several times per second. */
export async function startPrometheus(t: Cleanup, target: string): Promise<{ url: string; kill(): void }> {
  const directory = await mkdtemp(join(tmpdir(), "slp-"));
  const port = await freePorts(1);
  const config = {
    global: { scrape_interval: "200ms", scrape_timeout: "200ms" },
    scrape_configs: [{ job_name: "app", static_configs: [{ targets: [target] }] }],
  };
  await writeFile(join(directory, "p.yml"), JSON.stringify(config));
  const args = [
    `--config.file=${directory}/p.yml`,
    `--storage.tsdb.path=${directory}/data`,
    `--web.listen-address=127.0.0.1:${port}`,
  ];
  const child = spawn("prometheus", args, { stdio: "ignore" });
  const exited = new Promise((resolve) => child.once("exit", resolve));
  t.after(async () => {
    child.kill("SIGKILL");
    await exited;
    await rm(directory, { recursive: true, force: true });
  });
  const url = `http://127.0.0.1:${port}`;
  await until("Prometheus to be ready", async () => (await fetch(`${url}/-/ready`)).ok, { deadlineMs: 60_000 });
  return { url, kill: () => child.kill("SIGKILL") };
}
