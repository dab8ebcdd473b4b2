import type { Instance } from "../../../model/pool/pool-instances";
import { fill, type TemplateValues } from "../../../model/process/template";
import { milliseconds } from "../../../model/types/duration";
import { type Account, runningAs } from "./account";

/** Commands that run beside a process, templates filled in. */
interface Commands {
  quiet?: string[] | undefined;
  drain?: string[] | undefined;
  stop?: string[] | undefined;
  health?: string[] | undefined;
}

/** A running process by its labels, which also an agent reads that did not start it. */
export interface Labels {
  pool: string;
  key: string;
  process: string;
  policy: Instance["template"]["policy"];
  generation: number;
  release: string;
  port?: number | undefined;
  /** Whether edges of other hosts lead to it, which only its connections show. */
  inPlace: boolean;
  /** Time for its connections to end. */
  drainMs: number;
  stopSignal: NodeJS.Signals;
  graceMs: number;
  /** For its quiet command. */
  quietMs: number;
  /** For its drain command, or its own exit; 0 for neither. */
  workMs: number;
  /** Whether it drains without waiting for the proxied process of its release. */
  nonBlocking: boolean;
  /** Whether it stays until its successor is up. */
  handoff: boolean;
  commands: Commands;
  /** Prefix of commands beside it, so that they run as its user. */
  asUser: string[];
}

/** Name of a process in messages. */
export function titleOf({ pool, key, release }: Pick<Labels, "pool" | "key" | "release">): string {
  return `${key} of pool ${pool} (release ${release})`;
}

/** An instance's labels, as they are stored with its process. */
export function toLabels(
  instance: Instance,
  facts: TemplateValues,
  { drainMs, account }: { drainMs: number; account: Account | undefined },
): Record<string, string> {
  const { template } = instance;
  const { quiet, drain, stop, quietTimeout, drainTimeout } = template.lifecycle;
  const filled = (command: readonly string[] | undefined) => command?.map((text) => fill(text, facts));
  const commands: Commands = {
    quiet: filled(quiet),
    drain: filled(drain),
    stop: filled(stop),
    health: filled(template.health?.command),
  };
  return {
    pool: instance.pool,
    key: instance.key,
    process: instance.process,
    policy: template.policy,
    generation: String(instance.generation),
    release: instance.release.id,
    ...(instance.port === undefined ? {} : { port: String(instance.port) }),
    ...(instance.inPlace ? { inPlace: "true" } : {}),
    drainMs: String(drainMs),
    stopSignal: template.stopSignal,
    graceMs: String(milliseconds(template.gracefulStop)),
    quietMs: String(milliseconds(quietTimeout)),
    workMs: String(milliseconds(drainTimeout)),
    nonBlocking: String(template.nonBlockingDrain),
    handoff: String(template.handoff),
    commands: JSON.stringify(commands),
    asUser: JSON.stringify(account === undefined ? [] : runningAs(account)),
  };
}

/** Reads labels back; `undefined` for a process that is no pool's (an edge's HAProxy, a command beside a process). */
export function fromLabels(labels: Record<string, string>): Labels | undefined {
  const { pool, key, process, policy, generation, release, port, drainMs, stopSignal, graceMs } = labels;
  if (pool === undefined || key === undefined || process === undefined || policy === undefined || release === undefined)
    return undefined;
  return {
    pool,
    key,
    process,
    policy: policy as Labels["policy"],
    generation: Number(generation),
    release,
    port: port === undefined ? undefined : Number(port),
    inPlace: labels.inPlace === "true",
    drainMs: Number(drainMs),
    stopSignal: stopSignal as NodeJS.Signals,
    graceMs: Number(graceMs),
    // Absent where an earlier version of the agent has started it.
    quietMs: Number(labels.quietMs ?? 0),
    workMs: Number(labels.workMs ?? 0),
    nonBlocking: labels.nonBlocking === "true",
    handoff: labels.handoff === "true",
    commands: JSON.parse(labels.commands ?? "{}") as Commands,
    asUser: JSON.parse(labels.asUser ?? "[]") as string[],
  };
}
