import { z } from "zod";
import { retry } from "../edge/backend";
import { processTemplate } from "../process/process-template";
import { takeover } from "../process/takeover";
import { duration } from "../types/duration";
import { name } from "../types/names";
import { poolProblems, type SecretNames } from "./pool-problems";
import { release } from "./release";

/** A pool's properties, each by itself; what must fit together is checked by {@link checkPool}. */
export const poolProperties = z.strictObject({
  /**
   * How a new release takes over: `side-by-side` starts beside the old one and takes its traffic; `in-place` takes its place,
   * on the same ports, while the edges lead traffic to other hosts. Change: refused while it serves. @default "side-by-side"
   */
  strategy: z.enum(["side-by-side", "in-place"]).default("side-by-side"),
  /** Edge on the same agent whose backend, named as the pool, the proxied process serves. A pool in place has none. */
  edge: name.optional(),
  /** The release to run. Change: a promotion (or a rollback). */
  release,
  /**
   * Ports for this pool's processes, both included; enough for two releases side by side. In place, the proxied process always
   * has the first one. Change: live.
   */
  ports: z.strictObject({ from: z.int().min(1).max(65_535), to: z.int().min(1).max(65_535) }),
  /** Processes by name; exactly one is `proxied`. */
  processes: z.record(name, processTemplate),
  /** How a replica is chosen. @default "roundrobin". Change: hitless reload. */
  balance: z.enum(["roundrobin", "leastconn", "random"]).default("roundrobin"),
  /**
   * Requests that are sent again to another replica, see {@link retry}. @default "connection". Change: hitless reload.
   */
  retry: retry.default("connection"),
  /** Time that a release which leaves has to finish its requests and WebSockets. @default "1 minute". Change: live. */
  drainDeadline: duration({ max: "7 days" }).default("1 minute"),
  /** Old releases kept as targets for a rollback: how many, and for how long. Change: live. */
  retain: z
    .strictObject({
      count: z.int().min(0).max(100).default(5),
      age: duration({ max: "20 days" }).default("14 days"),
    })
    .prefault({}),
  /**
   * Existing processes, started without Sluice, that must not run beside this pool's: they end just before its
   * singletons start (in place: before anything starts), and run again where the change fails. @default none. Change:
   * at the next promotion.
   */
  takeover: takeover.optional(),
});

/**
 * Adds what is wrong with a pool across its properties to a schema's issues.
 *
 * @param at where the pool stands in the schema's input
 */
export function checkPool(
  pool: unknown,
  secrets: SecretNames,
  context: z.core.$RefinementCtx,
  at: string[] = [],
): void {
  const processes = [...at, "processes"].join("/");
  const misnamed = context.issues.some(
    ({ code, path }) => code === "invalid_key" && path?.slice(0, at.length + 1).join("/") === processes,
  );
  for (const { path, message } of poolProblems(pool, { misnamed, secrets }))
    context.addIssue({ code: "custom", path: [...at, ...path], message });
}

/** {@link poolSpec} where values of environments are secret: those are no templates. */
export function poolSpecWith(secrets: SecretNames) {
  // Also where a property is malformed, so that all problems come at once.
  return poolProperties.superRefine((pool, context) => checkPool(pool, secrets, context), { when: () => true });
}

/** The processes of a release on a host and the backend that they serve: what a `Pool` resource declares. */
export const poolSpec = poolSpecWith({});
export type PoolSpec = z.output<typeof poolSpec>;
export type PoolInput = z.input<typeof poolSpec>;
