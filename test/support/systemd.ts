import { type SpawnSyncReturns, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { realpath } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { codeOf } from "../../src/model/types/errors";
import type { Cleanup } from "./agent";
import { until } from "./until";

const ROOT = resolve(__dirname, "..", "..");
const BINARY = ["/lib/systemd/systemd", "/usr/lib/systemd/systemd"].find((path) => existsSync(path));
const CGROUP = /^cgroup2? (\S+) cgroup2 /m.exec(readFileSync("/proc/mounts", "utf8"))?.[1];
const NAMESPACES = ["--fork", "--pid", "--mount", "--cgroup", "--ipc", "--uts", "--net"];

/** Why no systemd can be booted here; `false` where it can, as far as is known before it is tried. */
export const withoutSystemd: string | false =
  process.getuid?.() !== 0
    ? "only root can boot a systemd in namespaces of its own"
    : BINARY === undefined
      ? "needs systemd: apt-get install systemd"
      : CGROUP === undefined
        ? "no cgroup v2 is mounted here, which systemd needs"
        : spawnSync("unshare", [...NAMESPACES, "true"]).status === 0 &&
            readFileSync("/proc/filesystems", "utf8").includes("\toverlay\n")
          ? false
          : "no namespaces or overlay file systems can be made here, which keep a systemd from the machine's own files";

/** A systemd that runs on a copy of this host's files, with this repository. */
export interface Systemd {
  /** Runs a command within it. */
  run(command: string, ...args: string[]): SpawnSyncReturns<string>;
  /** Likewise; gives its output. @throws where it fails */
  must(command: string, ...args: string[]): string;
  /** Path by which this process reaches a file of it, to read it or to connect to it. */
  path(inside: string): string;
}

/** Boots a systemd (see `systemd.sh`), which ends with the test, together with everything that it has started. */
export async function bootSystemd(t: Cleanup): Promise<Systemd> {
  const work = mkdtempSync(join(tmpdir(), "sl-systemd-"));
  // Its own control group, so that it takes over none that somebody else is in.
  const group = mkdtempSync(join(CGROUP ?? "", "sluice-test-"));
  const shown = [...new Set([ROOT, await realpath(join(ROOT, "node_modules"))])];
  const script = [join(__dirname, "systemd.sh"), work, BINARY ?? "", ...shown];
  // It must not outlive this process, however that ends.
  const boot = ["setpriv", "--pdeathsig", "KILL", "unshare", "--kill-child", ...NAMESPACES, "bash", ...script];
  const enter = 'echo $$ >"$0/cgroup.procs" && exec "$@"';
  const child = spawn("/bin/sh", ["-c", enter, group, ...boot], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  const exited = new Promise((resolve) => child.once("exit", resolve));
  t.after(async () => {
    child.kill("SIGKILL");
    await exited;
    await until("its control groups to be empty", () => removeGroup(group));
    rmSync(work, { recursive: true, force: true });
  });
  const first = () => readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim();
  const run = (command: string, ...args: string[]) =>
    spawnSync("nsenter", ["--target", first(), "--all", "--", command, ...args], { encoding: "utf8" });
  await until("systemd runs", () => {
    if (child.exitCode !== null) throw new Error(`it ended: ${output}`);
    return run("systemctl", "is-system-running").stdout.trim() === "running";
  });
  const must = (command: string, ...args: string[]) => {
    const { status, stdout, stderr } = run(command, ...args);
    if (status !== 0) throw new Error(`${[command, ...args].join(" ")} ended with ${status}: ${stdout}${stderr}`);
    return stdout;
  };
  return { run, must, path: (inside) => join("/proc", first(), "root", inside) };
}

/** Whether a control group could be removed with those below it. What was killed a moment ago may still be in it. */
function removeGroup(group: string): boolean {
  for (const entry of readdirSync(group, { withFileTypes: true }))
    if (entry.isDirectory() && !removeGroup(join(group, entry.name))) return false;
  try {
    rmdirSync(group);
    return true;
  } catch (error) {
    if (codeOf(error) === "EBUSY") return false;
    throw error;
  }
}
