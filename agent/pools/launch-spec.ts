import { milliseconds } from "../../model/duration";
import type { Instance } from "../../model/pool-state";
import { type Facts, factsAsEnvironment, fill } from "../../model/template";
import type { ProcessSpec } from "../processes/host";

/** What a process gets of the agent's own environment; everything else it must declare. */
const INHERITED = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"] as const;

/** What the process host must know to run an instance: templates filled in, facts as environment, labels to find it again. */
export function launchSpec(
  instance: Instance,
  context: { edgeAddress: string; drainMs: number; secretEnv: Record<string, string>; hostEnv: NodeJS.ProcessEnv },
): ProcessSpec {
  const { template, release } = instance;
  const facts: Facts = {
    release,
    process: { id: instance.key },
    replica: { index: instance.index, count: template.replicas },
    port: instance.port,
    ports: instance.ports,
    edge: { address: context.edgeAddress },
    hostEnv: context.hostEnv,
  };
  const filled = (text: string) => fill(text, facts);
  const inherited = INHERITED.flatMap((key) => {
    const value = context.hostEnv[key];
    return value === undefined ? [] : [[key, value] as const];
  });
  return {
    argv: Array.isArray(template.command) ? template.command.map(filled) : ["/bin/sh", "-c", filled(template.command)],
    cwd: filled(template.cwd),
    env: {
      ...Object.fromEntries(inherited),
      ...factsAsEnvironment(facts),
      ...Object.fromEntries(Object.entries(template.env).map(([key, text]) => [key, filled(text)])),
    },
    secretEnv: context.secretEnv,
    labels: toLabels(instance, context.drainMs),
  };
}

/** What a running process is, as its labels tell, also to an agent that did not start it. */
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
  drainMs: number;
  stopSignal: NodeJS.Signals;
  graceMs: number;
}

/** What people call a process in messages. */
export function titleOf({ pool, key, release }: Pick<Labels, "pool" | "key" | "release">): string {
  return `${key} of pool ${pool} (release ${release})`;
}

/** An instance's labels, as they are stored with its process. */
export function toLabels(instance: Instance, drainMs: number): Record<string, string> {
  return {
    pool: instance.pool,
    key: instance.key,
    process: instance.process,
    policy: instance.template.policy,
    generation: String(instance.generation),
    release: instance.release.id,
    ...(instance.port === undefined ? {} : { port: String(instance.port) }),
    ...(instance.inPlace ? { inPlace: "true" } : {}),
    drainMs: String(drainMs),
    stopSignal: instance.template.stopSignal,
    graceMs: String(milliseconds(instance.template.gracefulStop)),
  };
}

/** Reads labels back; `undefined` for a process that is no pool's (an edge's HAProxy). */
export function fromLabels(labels: Record<string, string>): Labels | undefined {
  const { pool, key, process, policy, generation, release, port, inPlace, drainMs, stopSignal, graceMs } = labels;
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
    inPlace: inPlace === "true",
    drainMs: Number(drainMs),
    stopSignal: stopSignal as NodeJS.Signals,
    graceMs: Number(graceMs),
  };
}
