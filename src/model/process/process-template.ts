import { z } from "zod";
import { duration } from "../types/duration";
import { quoteValue } from "../types/messages";
import { restartPolicy } from "./restart";
import { account, handover, health, lifecycle, limits, memory, output, text } from "./supervision";

/** Lowest port of a range: those below need privileges. */
export const FIRST_UNPRIVILEGED_PORT = 1024;

const variable = z
  .string()
  .max(256)
  .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, {
    error: ({ input }) =>
      `${quoteValue(input)} is not the name of an environment variable: use letters, digits and "_", no digit first`,
  })
  .refine((key) => !key.startsWith("SLUICE_"), {
    error: ({ input }) => `${quoteValue(input)} is Sluice's own to set: use a name that does not start with SLUICE_`,
  });

const signal = z.enum(["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2"]);

export const processTemplate = z.strictObject({
  /**
   * `proxied`: takes the edge's traffic (exactly one per pool); `companion`: per release, started before the proxied one;
   * `singleton`: at most one runs, the old stopped before the new started, after the switch; `service`: one per host, outlives releases.
   */
  policy: z.enum(["proxied", "companion", "singleton", "service"]),
  /** Program and arguments, with templates; or one string with `shell: true`. Change: new release. */
  command: z.union([z.array(text).min(1).max(256), text.min(1)], {
    error: ({ input }) => {
      const odd = Array.isArray(input) ? input.findIndex((item) => typeof item !== "string") : -1;
      const what = odd >= 0 ? `argument ${odd} is not a text` : `${quoteValue(input)} is not a command`;
      return `${what}: give a list of texts, such as ["node", "server.js"], or one text with shell: true`;
    },
  }),
  /** Run the command string by `/bin/sh -c`. @default false */
  shell: z.boolean().default(false),
  /** Working folder, with templates. @default "{{release.path}}". Change: new release. */
  cwd: text.default("{{release.path}}"),
  /**
   * Environment, with templates; secret values are passed as they are, without templates, and kept out of every state, log
   * and listing. Change: new release.
   */
  env: z.record(variable, text).default({}),
  /** Secret values of `env` that are handed over otherwise than in the environment, by their names there. @default none. Change: new release. */
  secrets: z.record(variable, handover).default({}),
  /** Replicas, 1 to 64 (a singleton, and what has a fixed port, has one). @default 1. Change: live. */
  replicas: z.int().min(1).max(64).default(1),
  /** User to run as, by name or number; the agent must be root for another than its own. @default the agent's. Change: new release. */
  user: account.optional(),
  /** Group to run as. @default the user's own. Change: new release. */
  group: account.optional(),
  /** Limits that the kernel enforces on it. Change: new release. */
  limits: limits.prefault({}),
  /** `true`: a port from the pool's range (a proxied process always has one); a number: this port (services only). @default none */
  port: z
    .union([z.boolean(), z.int().min(FIRST_UNPRIVILEGED_PORT).max(65_535)], {
      error: ({ input }) => `${quoteValue(input)} is not a port: give true, or a service's own port as a number`,
    })
    .optional(),
  /** How its health is known; required for a proxied process. Change: new release. */
  health: health.optional(),
  /** Time that a process without a health check must live to count as up, up to 1 hour. @default "500 milliseconds". Change: live. */
  minUptime: duration({ max: "1 hour" }).default("500 milliseconds"),
  /** Signal that asks the process to stop. @default "SIGTERM". Change: live. */
  stopSignal: signal.default("SIGTERM"),
  /** Time from that signal until SIGKILL of its whole process group. @default "10 seconds". Change: live. */
  gracefulStop: duration({ max: "1 hour" }).default("10 seconds"),
  /** How it drains, and what else ends it. Change: live. */
  lifecycle: lifecycle.prefault({}),
  /** Of a companion: drains as soon as its release retires, not after the proxied process of its release. @default false. Change: live. */
  nonBlockingDrain: z.boolean().default(false),
  /**
   * Of a service: each release starts its own on the same port before the old one leaves, which it must allow for
   * (SO_REUSEPORT). @default false: it outlives releases. Change: new release.
   */
  handoff: z.boolean().default(false),
  /** How it is started again when it exits by itself. Change: live. */
  restart: restartPolicy.prefault({}),
  /** How much memory it may have. @default any. Change: live. */
  memory: memory.optional(),
  /** Its output's files. Change: live. */
  output: output.prefault({}),
  /** Lines of its last output that a failure quotes, 0 to 200. @default 10. Change: live. */
  outputLines: z.int().min(0).max(200).default(10),
});
export type ProcessTemplate = z.output<typeof processTemplate>;
