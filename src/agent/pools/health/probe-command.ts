import { spawn } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import { type Descriptors, isDescriptor } from "../../processes/descriptors";
import { INSTANCE_VARIABLE, send } from "../../processes/identity";
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
export function probeCommand(
  argv: readonly string[],
  record: ProcessRecord,
  ms: number,
  signal: AbortSignal,
): Promise<ProbeResult> {
  const [program = "", ...rest] = argv;
  return new Promise((resolve) => {
    const env = { ...environmentBeside(record), [INSTANCE_VARIABLE]: `${record.id}${PROBE_SUFFIX}` };
    const opened = new Map(
      Object.entries(descriptorsBeside(record).paths ?? {}).map(([number, path]) => [
        Number(number),
        openSync(path, "r"),
      ]),
    );
    const stdio = ["ignore" as const, "ignore" as const, "ignore" as const, ...extraDescriptors(opened)];
    const child = spawn(program, rest, { cwd: record.cwd, env, detached: true, stdio });
    for (const descriptor of opened.values()) closeSync(descriptor);
    let late = false;
    const end = () => {
      if (child.pid !== undefined) send(-child.pid, "SIGKILL");
    };
    const timer = setTimeout(() => {
      late = true;
      end();
    }, ms);
    signal.addEventListener("abort", end, { once: true });
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

/**
 * The environment of a running process with its pid: what its shim was given, which programs cannot overwrite as they can
 * their own.
 */
export function environmentBeside({ group, pid }: Pick<ProcessRecord, "group" | "pid">): Record<string, string> {
  const variables = readFileSync(`/proc/${group}/environ`, "utf8").split("\0").slice(0, -1);
  const entries = variables.map((variable): [string, string] => {
    const at = variable.indexOf("=");
    return [variable.slice(0, at), variable.slice(at + 1)];
  });
  return { ...Object.fromEntries(entries), SLUICE_PID: String(pid) };
}

/** Descriptors that a running process was given: its shim still has them open. */
export function descriptorsBeside({ group }: Pick<ProcessRecord, "group">): Descriptors {
  const folder = `/proc/${group}/fd`;
  const numbers = readdirSync(folder).map(Number).filter(isDescriptor);
  return { paths: Object.fromEntries(numbers.map((number) => [number, `${folder}/${number}`])) };
}
