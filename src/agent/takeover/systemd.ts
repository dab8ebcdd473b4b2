import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { codeOf } from "../../model/types/errors";

const run = promisify(execFile);

/** For a question to systemd, in milliseconds. */
const ASK_MS = 10_000;
const PROPERTIES =
  "Id,LoadState,ActiveState,MainPID,UnitFileState,Transient,CanStart,CanStop,TriggeredBy,RequiredBy,BoundBy,ConsistsOf";
/** How the name of the program is found: the agent may run with a short PATH. */
const PATH = `${process.env.PATH ?? ""}:/usr/bin:/bin`;

export interface UnitNow {
  /** Its name: what was asked for may be an alias. */
  id: string;
  activeState: string;
  mainPid: number;
  /** Whether a boot of the host starts it, such as `enabled`. */
  unitFileState: string;
  /** Why it could not be given back, or not even be ended. */
  refusal?: string | undefined;
  /** Active units that start it again by themselves: sockets, timers, paths. */
  triggers: string[];
  /** Active services that systemd stops with it. */
  dependents: string[];
}

/** State of a unit in systemd, or why it can't be asked. */
export async function showUnit(unit: string): Promise<UnitNow | { problem: string }> {
  try {
    const found = (await show(PROPERTIES, [unit]))[0] ?? new Map<string, string>();
    if (found.get("LoadState") === "not-found")
      return { problem: `unit ${unit} is not known to systemd on this host: is it spelled as systemctl lists it?` };
    const names = (...properties: string[]) =>
      properties.flatMap((each) => (found.get(each) ?? "").split(" ").filter((name) => name !== ""));
    const [triggers, dependents] = await Promise.all([
      active(names("TriggeredBy")),
      active(names("RequiredBy", "BoundBy", "ConsistsOf").filter((name) => name.endsWith(".service"))),
    ]);
    return {
      id: found.get("Id") ?? unit,
      activeState: found.get("ActiveState") ?? "",
      mainPid: Number(found.get("MainPID") ?? 0),
      unitFileState: found.get("UnitFileState") ?? "",
      refusal: refusal(unit, found),
      triggers,
      dependents,
    };
  } catch (error) {
    return { problem: `unit ${unit} can't be taken over: ${reason(error)}` };
  }
}

function refusal(unit: string, found: ReadonlyMap<string, string>): string | undefined {
  if (found.get("Transient") === "yes")
    return `unit ${unit} is transient (made by systemd-run, or another program), so that it could not be started again: end it yourself`;
  const verb = found.get("CanStop") === "no" ? "stopped" : found.get("CanStart") === "no" ? "started" : undefined;
  return verb === undefined
    ? undefined
    : `unit ${unit} must not be ${verb} by systemctl (RefuseManualSt${verb === "stopped" ? "op" : "art"}): change that, or end it yourself`;
}

async function active(units: readonly string[]): Promise<string[]> {
  const shown = units.length === 0 ? [] : await show("Id,ActiveState", units);
  const ids = shown.flatMap((each) => (each.get("ActiveState") === "active" ? [each.get("Id") ?? ""] : []));
  return [...new Set(ids)].toSorted();
}

/** Properties of units, in their order. */
async function show(properties: string, units: readonly string[]): Promise<Map<string, string>[]> {
  const { stdout } = await systemctl(["show", `--property=${properties}`, "--", ...units], ASK_MS);
  return stdout
    .trim()
    .split("\n\n")
    .map((block) => new Map(block.split("\n").map((line) => line.split("=", 2) as [string, string])));
}

/** Ends a unit as its own settings say, and keeps systemd from starting it again. @throws where systemd refuses, or it lasts too long */
export async function stopUnit(unit: string, withinMs: number): Promise<void> {
  await change("stop", unit, withinMs);
}

/** @throws where the unit does not start */
export async function startUnit(unit: string, withinMs: number): Promise<void> {
  await change("start", unit, withinMs);
}

async function change(verb: "stop" | "start", unit: string, withinMs: number): Promise<void> {
  try {
    await systemctl([verb, "--", unit], withinMs);
  } catch (error) {
    throw new Error(`systemctl ${verb} ${unit} failed: ${reason(error)}`, { cause: error });
  }
}

function systemctl(args: string[], timeout: number) {
  return run("systemctl", ["--no-ask-password", "--no-pager", ...args], {
    timeout,
    killSignal: "SIGKILL",
    env: { PATH, LC_ALL: "C" },
  });
}

function reason(error: unknown): string {
  if (codeOf(error) === "ENOENT")
    return "systemctl is not installed here; name the process by pidFile, port or command instead";
  const { stderr, killed, message } = error as { stderr?: string; killed?: boolean; message: string };
  if (killed === true) return "systemd did not answer in time";
  const text = (stderr ?? "").trim().split("\n")[0] || message;
  return /not been booted with systemd|Failed to connect to bus/.test(text)
    ? "systemd does not run here; name the process by pidFile, port or command instead"
    : text;
}
