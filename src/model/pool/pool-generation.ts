import { z } from "zod";
import { poolSpec } from "./pool";
import { type Release, release } from "./release";

export const templateState = poolSpec.shape.processes.valueType.extend({
  /** Names of secret environment variables, each with a keyed digest of its value; the values are kept apart. */
  secretEnv: z.record(z.string(), z.string()).default({}),
});
export type TemplateState = z.output<typeof templateState>;

/** Parts of a generation: a release, and its processes. */
export interface Runnable {
  release: Release;
  processes: Record<string, TemplateState>;
}

export const generation = z.strictObject({
  /** Counts the promotions of this pool; part of process ids and server names. */
  number: z.int().min(1),
  release,
  processes: z.record(z.string(), templateState),
  /** Ports by replica key, such as `web#0`. */
  ports: z.record(z.string(), z.int()),
});
export type Generation = z.output<typeof generation>;
