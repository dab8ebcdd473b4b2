import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { type Descriptors, isDescriptor, openDescriptors } from "../../processes/descriptors";
import { INSTANCE_VARIABLE, send } from "../../processes/identity";
import { hasEnded } from "../../processes/proc-errors";
import type { ProcessRecord } from "../../processes/process-manager";
import { extraDescriptors } from "../../processes/shim";
import type { ProbeResult } from "./probe";

/** Suffix of the id of a command that runs beside a process, by which those that an agent left are ended. */
export const PROBE_SUFFIX = "@health";

/**
 * One run of a command beside a process, in its folder and with its environment: exit code 0 within `ms` milliseconds is
 * healthy. Its output is not kept; what is left of its process group afterwards is killed.
 *
 * @param argv with what makes it run as the process's user
 */
export async function probeCommand(
  argv: readonly string[],
  record: ProcessRecord,
  ms: number,
  signal: AbortSignal,
): Promise<ProbeResult> {
  const [program = "", ...rest] = argv;
  const beside = surroundingsOf(record);
  if (beside === undefined) return "it does not run";
  const handles: FileHandle[] = [];
  let result: Promise<ProbeResult>;
  try {
    const opened = await openDescriptors(beside.descriptors, record.cwd, handles);
    const env = { ...beside.env, [INSTANCE_VARIABLE]: `${record.id}${PROBE_SUFFIX}` };
    const stdio = ["ignore" as const, "ignore" as const, "ignore" as const, ...extraDescriptors(opened)];
    result = resultOf(spawn(program, rest, { cwd: record.cwd, env, detached: true, stdio }), program, ms, signal);
  } finally {
    for (const handle of handles) await handle.close();
  }
  return result;
}

function resultOf(child: ChildProcess, program: string, ms: number, signal: AbortSignal): Promise<ProbeResult> {
  return new Promise((resolve) => {
    let late = false;
    const end = () => {
      if (child.pid !== undefined) send(-child.pid, "SIGKILL");
    };
    const timer = setTimeout(() => {
      late = true;
      end();
    }, ms);
    if (signal.aborted) end();
    else signal.addEventListener("abort", end, { once: true });
    const finish = (result: ProbeResult) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve(result);
    };
    child.once("error", (error) => finish(`${program} could not be run: ${error.message}`));
    child.once("exit", (code, by) => {
      end();
      if (late) finish(`${program} did not end within ${ms} ms`);
      else
        finish(
          code === 0 ? undefined : `${program} ${code === null ? `was ended by ${by}` : `exited with code ${code}`}`,
        );
    });
  });
}

/** Variables that a process runs with, and how to open what its descriptors are connected to. */
export interface Surroundings {
  env: Record<string, string>;
  descriptors: Descriptors;
}

/**
 * The environment of a running process with its pid, and the descriptors that it was given: those of its shim, which
 * programs cannot overwrite as they can their own. Undefined once the shim has ended.
 */
export function surroundingsOf({ group, pid }: Pick<ProcessRecord, "group" | "pid">): Surroundings | undefined {
  const folder = `/proc/${group}`;
  try {
    const variables = readFileSync(`${folder}/environ`, "utf8").split("\0").slice(0, -1);
    const numbers = readdirSync(`${folder}/fd`).map(Number).filter(isDescriptor);
    // A process that is ending has none; a shim has its marker at least.
    if (variables.length === 0) return undefined;
    const entries = variables.map((variable): [string, string] => {
      const at = variable.indexOf("=");
      return [variable.slice(0, at), variable.slice(at + 1)];
    });
    return {
      env: { ...Object.fromEntries(entries), SLUICE_PID: String(pid) },
      descriptors: { paths: Object.fromEntries(numbers.map((number) => [number, `${folder}/fd/${number}`])) },
    };
  } catch (error) {
    if (hasEnded(error)) return undefined;
    throw error;
  }
}
