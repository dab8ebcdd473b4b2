import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { temporaryFolder } from "../../test/support/agent";
import { until } from "../../test/support/until";
import { end } from "../support/processes";
import type { Scope } from "../support/scope";

const run = promisify(execFile);
const INSTALL_DEADLINE_MS = 90_000;

export interface Pm2 {
  version: string;
  /** Process id of its daemon. */
  pid: number;
}

/**
 * Installs pm2 into a temporary folder and lets it run `count` sleeping processes.
 *
 * @returns a reason in words where it can't be had
 */
export async function startPm2(scope: Scope, count: number): Promise<Pm2 | string> {
  const folder = await temporaryFolder(scope);
  try {
    await run("npm", ["install", "--prefix", folder, "--no-audit", "--no-fund", "pm2"], {
      timeout: INSTALL_DEADLINE_MS,
    });
  } catch (error) {
    return `npm could not install it: ${(error as Error).message.split("\n")[0]}`;
  }
  const program = join(folder, "node_modules", "pm2", "bin", "pm2");
  const env = { ...process.env, PM2_HOME: join(folder, "home"), PM2_DISABLE_VERSION_CHECK: "true", CI: "true" };
  const pm2 = (...args: string[]) => run(process.execPath, [program, ...args], { env, timeout: 60_000 });
  const apps = Array.from({ length: count }, (_, index) => ({
    name: `sleep-${index}`,
    script: "/bin/sleep",
    args: "3600",
    interpreter: "none",
  }));
  await writeFile(join(folder, "apps.json"), JSON.stringify({ apps }));
  const pidFile = join(folder, "home", "pm2.pid");
  scope.after(async () => {
    if (!existsSync(pidFile)) return;
    const pid = Number(readFileSync(pidFile, "utf8"));
    await pm2("kill");
    await until("pm2 to end", () => !existsSync(`/proc/${pid}`)).catch(() => end(pid));
  });
  await pm2("start", join(folder, "apps.json"));
  const { version } = JSON.parse(readFileSync(join(folder, "node_modules", "pm2", "package.json"), "utf8"));
  return { version, pid: Number(readFileSync(pidFile, "utf8")) };
}
