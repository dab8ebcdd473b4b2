import { execFile } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { mkdir, readdir, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { codeOf, messageOf } from "../../model/types/errors";
import { waitFor } from "../../support/waiting";

/** Limits that the kernel enforces on a process with all its children. */
export interface KernelLimits {
  /** CPUs, such as 0.5. */
  cpu?: number | undefined;
  /** In bytes; beyond it, the kernel ends the process with all that it has started. */
  memory?: number | undefined;
}

/** At the top, as slices of other managers of processes are; below it a folder per agent, and in that one per process. */
const SLICE = "sluice.slice";
/** No file of the kernel's own has such a name. */
const SUFFIX = ".process";
/** Group in which it is tried whether a process can go to one; no process has such an id. */
const TRIAL = "-trial";
const CPU_PERIOD_US = 100_000;
/** Time that the kernel has to empty a group whose processes were killed, in milliseconds. */
const EMPTY_DEADLINE_MS = 5000;
const POLL_MS = 10;
/** Time that a shell has to go to a group, in milliseconds. */
const TRIAL_MS = 5000;
const UNIFIED = "boot it with cgroup v2 alone (systemd.unified_cgroup_hierarchy=1)";

/**
 * Why limits can't be enforced on this host, and what to do; undefined if they can. Looks only.
 *
 * @param top where cgroup v2 is mounted. @default as the kernel says
 */
export function limitProblem(limits: KernelLimits, top = topOf()): string | undefined {
  const needed = controllersOf(limits);
  if (needed.length === 0) return undefined;
  const remedy = "or set limits.optional: true to do without";
  if (top === undefined) return `this host has no cgroup v2: ${UNIFIED}, ${remedy}`;
  const has = wordsIn(join(top, "cgroup.controllers"));
  const missing = needed.filter((controller) => !has.includes(controller));
  if (missing.length > 0)
    return `cgroup v2 of this host (${top}) does not have the ${missing.join(" and ")} controller: ${UNIFIED}, ${remedy}`;
  try {
    accessSync(join(top, "cgroup.subtree_control"), constants.W_OK);
  } catch {
    return `the agent may not create cgroups in ${top}: run it as root, ${remedy}`;
  }
  const enabled = wordsIn(join(top, "cgroup.subtree_control"));
  // Only the host's own top may hold processes besides; that of a container is no different from any other group.
  const isTop = !existsSync(join(top, "cgroup.type"));
  if (isTop || needed.every((controller) => enabled.includes(controller))) return undefined;
  if (wordsIn(join(top, "cgroup.procs")).length === 0) return undefined;
  return `the cgroup of this container (${top}) holds processes, and does not pass ${needed.join(" and ")} on: move them into a group below it and enable these in cgroup.subtree_control, ${remedy}`;
}

/** The cgroups of an agent's processes. They outlive the agent, and are found again by the ids of the processes. */
export class Cgroups {
  private tracking: Promise<string | undefined> | undefined;

  /** @param marker the agent's id */
  constructor(
    private readonly marker: string,
    private readonly top = topOf(),
  ) {}

  /**
   * Makes the group of a process that is about to be started, which must go there by itself.
   *
   * @returns its folder
   * @throws where the kernel refuses
   */
  async create(id: string, limits: KernelLimits): Promise<string> {
    const { top } = this;
    if (top === undefined) throw new Error("this host has no cgroup v2");
    const folder = this.folderOf(id, top);
    await mkdir(folder, { recursive: true });
    // From the top, each passes on what the one below it needs.
    for (const each of [top, join(top, SLICE), join(top, SLICE, this.marker)])
      for (const controller of controllersOf(limits)) {
        const control = join(each, "cgroup.subtree_control");
        if (!wordsIn(control).includes(controller)) await writeFile(control, `+${controller}`);
      }
    for (const [file, value] of Object.entries(limitFiles(limits))) await writeFile(join(folder, file), value);
    return folder;
  }

  /**
   * Why a process without limits can't be in a group of its own, by which all that it started is found; undefined if it can.
   * Tried once, by a shell that goes to one.
   */
  trackingProblem(): Promise<string | undefined> {
    this.tracking ??= this.tryTracking();
    return this.tracking;
  }

  private async tryTracking(): Promise<string | undefined> {
    if (this.top === undefined) return `this host has no cgroup v2: ${UNIFIED}`;
    try {
      const folder = await this.create(TRIAL, {});
      await promisify(execFile)("/bin/sh", ["-c", 'echo 0 >"$0/cgroup.procs"', folder], { timeout: TRIAL_MS });
      await this.remove(TRIAL);
      return undefined;
    } catch (error) {
      return ["EACCES", "EPERM", "EROFS"].includes(codeOf(error) ?? "")
        ? `the agent may not create cgroups in ${this.top}: run it as root`
        : `cgroups in ${this.top} can't be used (${messageOf(error)})`;
    }
  }

  /** Kills what is in the group of a process, wherever it has gone to, and removes the group. */
  async remove(id: string): Promise<void> {
    const { top } = this;
    if (top === undefined) return;
    const folder = this.folderOf(id, top);
    const killUntilRemoved = async () => {
      if (await isTreeRemoved(folder)) return true;
      await this.kill(id);
      return false;
    };
    if (!(await waitFor(killUntilRemoved, { everyMs: POLL_MS, deadlineMs: EMPTY_DEADLINE_MS })))
      throw new Error(`the cgroup ${folder} can't be removed: something is in it`);
    for (const each of [join(top, SLICE, this.marker), join(top, SLICE)]) if (!(await isRemoved(each))) return;
  }

  /** Kills what is in the group of a process, if it has one. */
  async kill(id: string): Promise<void> {
    if (this.top === undefined) return;
    try {
      await writeFile(join(this.folderOf(id, this.top), "cgroup.kill"), "1", { flag: "r+" });
    } catch (error) {
      // Linux before 5.14 has none, and what carries the marker was killed by that.
      if (!isAbsent(error)) throw error;
    }
  }

  /** Removes groups that are empty and of no process that is known: what an agent that died has left. */
  async sweep(isKnown: (id: string) => boolean): Promise<void> {
    const parent = cgroupsOf(this.marker, this.top);
    if (parent === undefined) return;
    for (const name of await namesIn(parent)) {
      const id = name.slice(0, -SUFFIX.length);
      if (name.endsWith(SUFFIX) && !isKnown(id)) await isTreeRemoved(join(parent, name));
    }
  }

  private folderOf(id: string, top: string): string {
    return join(top, SLICE, this.marker, `${id}${SUFFIX}`);
  }
}

/** Folder of the cgroups of an agent's processes; undefined on a host without cgroup v2. */
export function cgroupsOf(marker: string, top = topOf()): string | undefined {
  return top === undefined ? undefined : join(top, SLICE, marker);
}

/** The kernel's files for limits, and what goes there. */
export function limitFiles({ cpu, memory }: KernelLimits): Record<string, string> {
  return {
    ...(cpu === undefined ? {} : { "cpu.max": `${Math.round(cpu * CPU_PERIOD_US)} ${CPU_PERIOD_US}` }),
    // A group that has lost one of its processes is rarely of use.
    ...(memory === undefined ? {} : { "memory.max": String(memory), "memory.oom.group": "1" }),
  };
}

function controllersOf({ cpu, memory }: KernelLimits): string[] {
  return [...(cpu === undefined ? [] : ["cpu"]), ...(memory === undefined ? [] : ["memory"])];
}

/** Mount point of cgroup v2. */
function topOf(): string | undefined {
  const lines = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  return lines.find((line) => line.includes(" - cgroup2 "))?.split(" ")[4];
}

function wordsIn(path: string): string[] {
  return readFileSync(path, "utf8").split(/\s+/).filter(Boolean);
}

/** Removes the group of a process, with those that it has made below, or says that something is in one of them. */
async function isTreeRemoved(folder: string): Promise<boolean> {
  for (const name of await namesIn(folder)) if (!(await isTreeRemoved(join(folder, name)))) return false;
  return isRemoved(folder);
}

/** Removes a group, or says that something is in it. */
async function isRemoved(folder: string): Promise<boolean> {
  try {
    await rmdir(folder);
  } catch (error) {
    if (codeOf(error) === "EBUSY" || codeOf(error) === "ENOTEMPTY") return false;
    if (!isAbsent(error)) throw error;
  }
  return true;
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder, { withFileTypes: true })).flatMap((entry) =>
      entry.isDirectory() ? [entry.name] : [],
    );
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}

/** Groups that an agent of root has made are private: another user's agent, which has none, sees them as absent. */
function isAbsent(error: unknown): boolean {
  return codeOf(error) === "ENOENT" || codeOf(error) === "EACCES";
}
