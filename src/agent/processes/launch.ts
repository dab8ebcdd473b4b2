import { type FileHandle, open, rm } from "node:fs/promises";
import { messageOf } from "../../model/types/errors";
import { waitFor } from "../../support/waiting";
import { makeFolder, PRIVATE_FILE_MODE } from "../support/files";
import { type Cgroups, type KernelLimits, limitProblem } from "./cgroups";
import { environmentOf, problemsOf } from "./command";
import { type Descriptors, openDescriptors } from "./descriptors";
import { killMarked } from "./group";
import type { Identity } from "./identity";
import { tailOf } from "./output/output";
import type { ProcessEvent } from "./process-record";
import { deleteRecord, type StoredRecord, writeRecord } from "./record";
import { hasExecuted, isExecFailure, spawnShim } from "./shim";
import { createStatus, readStatus } from "./status";

/** How long it may take from the shim's start to the program's, in milliseconds. */
const EXEC_DEADLINE_MS = 10_000;
const POLL_MS = 1;

export interface ProcessSpec {
  /** The program, by its path or found along PATH of `env`, and its arguments. */
  argv: string[];
  /**
   * Programs that set up what the command runs in (its user, its limits) and become it: their paths and arguments, before
   * `argv`. @default none
   */
  wrap?: string[];
  /** Absolute path of an existing folder. */
  cwd: string;
  /** The complete environment: nothing is inherited. PWD is set to `cwd`, and the two variables of the marker are added. */
  env: Record<string, string>;
  /** Added to `env`, over it. */
  secretEnv?: Record<string, string>;
  /** Contents of its further file descriptors, by their numbers (3 to 8). @default none */
  descriptors?: Descriptors;
  /** Has it run in a cgroup of its own, with these limits on it and its children. @default in none */
  cgroup?: KernelLimits & {
    /** Whether it is started without where that is not possible. */
    optional: boolean;
  };
  /** Kept with the record, not interpreted. */
  labels: Record<string, string>;
}

export interface Launched {
  app: Identity;
  shim: Identity;
  watched: boolean;
}

interface Launch {
  record: StoredRecord;
  spec: ProcessSpec;
  marker: string;
  bootId: string;
  folder: string;
  statusPath: string;
  outputPath: string;
  cgroups: Cgroups;
  report: (event: ProcessEvent) => void;
  /** Ends what must not run beside the process, once nothing is known that would keep it from starting. */
  clear: () => Promise<void>;
  onShimExit: () => void;
}

/**
 * Checks, records, spawns, and waits until the program is executing. The record is durable before anything is spawned, so
 * that whatever runs is known to the next agent.
 *
 * @throws when the program cannot be executed; nothing is then left of the launch
 */
export async function launchShim(launch: Launch): Promise<Launched> {
  const { record, spec, marker, folder, statusPath } = launch;
  const { id } = record;
  const env = environmentOf(spec, { marker, id });
  const problems = await problemsOf({ argv: spec.argv, cwd: spec.cwd, env });
  if (problems.length > 0) throw new Error(`process ${id} cannot be started: ${problems.join("; ")}`);
  await launch.clear();
  try {
    await makeFolder(folder, { above: 1 });
    await writeRecord(folder, record);
    await createStatus(statusPath, launch.bootId);
    return await spawnAndWait(launch, env);
  } catch (error) {
    await forget(launch);
    throw new Error(`process ${id} cannot be started: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function spawnAndWait(launch: Launch, env: Record<string, string>): Promise<Launched> {
  const { spec, statusPath, outputPath } = launch;
  const shim = { ended: false };
  const handles: FileHandle[] = [];
  try {
    const output = await open(outputPath, "a", PRIVATE_FILE_MODE);
    handles.push(output);
    const status = await open(statusPath, "a");
    handles.push(status);
    const descriptors = await openDescriptors(spec.descriptors, launch.folder, handles);
    const cgroup = await cgroupOf(launch);
    const argv = [...(spec.wrap ?? []), ...spec.argv];
    const child = await spawnShim({
      argv,
      cwd: spec.cwd,
      env,
      output: output.fd,
      status: status.fd,
      cgroup,
      descriptors,
    });
    child.once("exit", () => {
      shim.ended = true;
      launch.onShimExit();
    });
  } finally {
    await Promise.all(handles.map((handle) => handle.close()));
  }
  try {
    return await executed(launch, shim);
  } catch (error) {
    await killMarked(launch.marker, launch.record.id);
    throw error;
  }
}

async function cgroupOf(launch: Launch): Promise<string | undefined> {
  const { record, spec, cgroups, report } = launch;
  const { id } = record;
  if (spec.cgroup === undefined) return undefined;
  const { optional, ...limits } = spec.cgroup;
  if (optional && limits.cpu === undefined && limits.memory === undefined) return trackingGroupOf(launch);
  const problem = limitProblem(limits);
  if (problem === undefined) return cgroups.create(id, limits);
  if (!optional) throw new Error(`its limits can't be enforced: ${problem}`);
  report({ message: `process ${id} is started without its limits: ${problem}`, data: { id } });
  return undefined;
}

/** Only a help to find all that a process starts: without it, the process is started all the same. */
async function trackingGroupOf({ record: { id }, cgroups, report }: Launch): Promise<string | undefined> {
  if ((await cgroups.trackingProblem()) !== undefined) return undefined;
  try {
    return await cgroups.create(id, {});
  } catch (error) {
    report({ message: `process ${id} is started without a cgroup of its own: ${messageOf(error)}`, data: { id } });
    return undefined;
  }
}

/** Deletes what the launch has written, but no record that was kept aside in the same folder. */
async function forget({ record, spec, folder, statusPath, outputPath, cgroups }: Launch): Promise<void> {
  if (spec.cgroup !== undefined) await cgroups.remove(record.id);
  await rm(statusPath, { force: true });
  await rm(outputPath, { force: true });
  await deleteRecord(folder);
}

async function executed({ spec, statusPath, outputPath }: Launch, shim: { ended: boolean }): Promise<Launched> {
  const launched = async (): Promise<Launched | undefined> => {
    const { ended } = shim;
    const { app, shim: identity, code } = readStatus(statusPath) ?? {};
    if (app !== undefined && identity !== undefined && (hasExecuted(app.pid, spec.wrap ?? []) || hasRun(code)))
      return { app, shim: identity, watched: true };
    if (code !== undefined || ended) {
      const [output] = await tailOf(outputPath, 1);
      throw new Error(
        `${spec.argv[0]} could not be executed (${output ?? "its shim was killed or could not write its status"})`,
      );
    }
    return undefined;
  };
  const found = await waitFor(launched, { everyMs: POLL_MS, deadlineMs: EXEC_DEADLINE_MS });
  if (found === undefined)
    throw new Error(`${spec.argv[0]} was not executed within ${EXEC_DEADLINE_MS} ms; the host is overloaded`);
  return found;
}

/** Whether the status is that of a program that came and went between two looks at it. */
function hasRun(code: number | undefined): boolean {
  return code !== undefined && !isExecFailure(code);
}
