import { z } from "zod";
import { threshold } from "../gate/threshold";
import { duration } from "../types/duration";
import { quoteValue } from "../types/messages";
import { hasControl } from "../types/names";
import { databaseConnection } from "./migration-set";

/**
 * Facts that a program declares about a resource for policies to judge by. An agent is not told, and a change of it
 * changes nothing of what runs.
 */

/** Most settings and objectives that one resource declares. */
const MAX_DECLARED = 100;

/** The service level that its users are promised, such as `["p95 < 500 ms", "5xx < 0.5 %"]`: gates must not be looser. */
const slo = z.array(threshold).max(MAX_DECLARED).optional();

/** Longest time that a request of the service may take, from its arrival to the last byte of its answer. */
const longestRequest = duration({ min: "1 millisecond", max: "7 days" }).optional();

const setting = z.string().regex(/^-{0,2}[A-Za-z_][A-Za-z0-9_.-]{0,99}$/, {
  error: ({ input }) =>
    `${quoteValue(input)} is not the name of a setting: write an environment variable such as "OLD_FLAG", or an option such as "--old-flag"`,
});

const line = z
  .string()
  .min(1)
  .max(200)
  .refine((text) => !hasControl(text), {
    error: ({ input }) => `${quoteValue(input)} holds a control character: remove it`,
  });

export const removedSetting = z.strictObject({
  /** Day, in UTC, from which on the service fails where it is set, such as `"2026-12-01"`. */
  from: z.iso.date({ error: ({ input }) => `${quoteValue(input)} is not a date: write it such as "2026-12-01"` }),
  /** The setting or product that replaces it, for people. @default nothing */
  instead: line.optional(),
});
export type RemovedSetting = z.output<typeof removedSetting>;

export const poolDeclarations = {
  /** See {@link slo}: of its candidate's stages, and of its window in place. @default not declared */
  slo,
  /** See {@link longestRequest}: drains and timeouts must not be shorter. @default not declared */
  longestRequest,
  /** Environment variables and command-line options that the service does not take any more. @default none */
  removedSettings: z
    .record(setting, removedSetting)
    .refine((settings) => Object.keys(settings).length <= MAX_DECLARED, {
      error: ({ input }) => `has ${Object.keys(input as object).length} settings: declare at most ${MAX_DECLARED}`,
    })
    .optional(),
  /** The migrations of its database: they come before its release, which must be able to live with them. @default none */
  migrations: databaseConnection.optional(),
};
export type PoolDeclarations = z.input<z.ZodObject<typeof poolDeclarations>>;

export const backendDeclarations = { longestRequest };
export type BackendDeclarations = z.input<z.ZodObject<typeof backendDeclarations>>;

export const routeDeclarations = {
  /** See {@link slo}. @default not declared */
  slo,
};
export type RouteDeclarations = z.input<z.ZodObject<typeof routeDeclarations>>;

/** Properties without those that are declared for policies alone: what an agent is told. */
export function forAgent<T extends object, D extends object>(inputs: T, declarations: D): Omit<T, keyof D> {
  const entries = Object.entries(inputs).filter(([key]) => !Object.hasOwn(declarations, key));
  return Object.fromEntries(entries) as Omit<T, keyof D>;
}
