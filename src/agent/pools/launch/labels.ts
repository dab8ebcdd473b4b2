import { z } from "zod";
import type { Instance } from "../../../model/pool/pool-instances";
import { processTemplate } from "../../../model/process/process-template";
import { fill, type TemplateValues } from "../../../model/process/template";
import { milliseconds } from "../../../model/types/duration";
import { messageOf } from "../../../model/types/errors";
import { type Account, runningAs } from "./account";

/** Stored labels are texts: a number, a yes or no, or JSON. */
const integer = z
  .string()
  .regex(/^\d+$/, "is not a whole number")
  .transform((text) => Number(text));
const yes = z.enum(["true", "false"]).transform((text) => text === "true");
const json = z.string().transform((text, context): unknown => {
  try {
    return JSON.parse(text);
  } catch (error) {
    context.addIssue({ code: "custom", message: messageOf(error) });
    return z.NEVER;
  }
});
const argv = z.array(z.string());

/** Commands that run beside a process, templates filled in. */
const commands = z.object({
  quiet: argv.optional(),
  drain: argv.optional(),
  stop: argv.optional(),
  health: argv.optional(),
});

/** A running process by its labels, which also an agent reads that did not start it: defaults are for what earlier versions lack. */
const labels = z.object({
  pool: z.string(),
  key: z.string(),
  process: z.string(),
  policy: processTemplate.shape.policy,
  generation: integer,
  release: z.string(),
  port: integer.optional(),
  /** Whether edges of other hosts lead to it, which only its connections show. */
  inPlace: yes.default(false),
  /** Time for its connections to end. */
  drainMs: integer,
  stopSignal: processTemplate.shape.stopSignal.unwrap(),
  graceMs: integer,
  /** For its quiet command. */
  quietMs: integer.default(0),
  /** For its drain command, or its own exit; 0 for neither. */
  workMs: integer.default(0),
  /** Whether it drains without waiting for the proxied process of its release. */
  nonBlocking: yes.default(false),
  /** Whether it stays until its successor is up. */
  handoff: yes.default(false),
  commands: json.pipe(commands).default({}),
  /** Prefix of commands beside it, so that they run as its user. */
  asUser: json.pipe(argv).default([]),
});
export type Labels = z.output<typeof labels>;

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
  const filledIn: Labels["commands"] = {
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
    commands: JSON.stringify(filledIn),
    asUser: JSON.stringify(account === undefined ? [] : runningAs(account)),
  };
}

/**
 * Reads labels back; `undefined` for a process that is no pool's (an edge's HAProxy, a command beside a process).
 *
 * @throws where a pool's are damaged: nobody would know how to stop it
 */
export function fromLabels(stored: Readonly<Record<string, string>>): Labels | undefined {
  if (stored.pool === undefined) return undefined;
  const result = labels.safeParse(stored);
  if (result.success) return result.data;
  const problems = result.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
  throw new Error(`the labels of ${stored.key} of pool ${stored.pool} can't be read: ${problems.join("; ")}`);
}
