import { z } from "zod";
import { backendSpec, urlPath } from "../edge/backend";
import { edgeSpec } from "../edge/edge";
import { candidateProblems } from "../pool/candidate-problems";
import { checkPool, poolProperties } from "../pool/pool";
import { poolShare } from "../pool/pool-share";
import { release } from "../pool/release";
import { routeMatch, routeSpec } from "../route/route";
import { duration } from "../types/duration";
import { quoteValue } from "../types/messages";
import { hasControl, name, serverKey } from "../types/names";
import { claim } from "./ownership";

/** Version of the agent's HTTP API. A client and an agent of different protocols refuse each other. */
export const PROTOCOL = 2;

/** Time without a renewal after which an agent undoes an open transaction by itself, in milliseconds. */
export const DEFAULT_LEASE_MS = 5000;

/** One line: it is shown to others, in errors and logs. */
function line(max: number) {
  return z
    .string()
    .min(1)
    .max(max)
    .refine((text) => !hasControl(text), {
      error: ({ input }) => `${quoteValue(input)} holds a control character: remove it`,
    });
}

/** Longest purpose of a transaction, in characters. */
export const MAX_PURPOSE = 1000;

/** Holder of a transaction. */
export const owner = z.strictObject({
  /** Person and host, such as `ana@build-7`. */
  who: line(200),
  /** Purpose, such as the resource's URN. */
  why: line(MAX_PURPOSE),
  /** Process id of the holder. */
  pid: z.int().min(1),
});
export type Owner = z.output<typeof owner>;

/** Target of a transaction, with one holder at a time: `pool/web`, `edge/main`, `backend/main/api`, `route/api`. */
export const target = z.string().refine(isTarget, {
  error: (issue) =>
    `${quoteValue(issue.input)} is not a target: use edge/NAME, pool/NAME, route/NAME or backend/EDGE/NAME`,
});

function isTarget(text: string): boolean {
  const [kind, ...names] = text.split("/");
  const expected = kind === "backend" ? 2 : ["edge", "pool", "route"].includes(kind ?? "") ? 1 : 0;
  return names.length === expected && expected > 0 && names.every((each) => name.safeParse(each).success);
}

export type Target = z.output<typeof target>;

export const openRequest = z.strictObject({
  target,
  owner,
  leaseMs: z.int().min(500).max(600_000).default(DEFAULT_LEASE_MS),
  /** Of the resource that declares the target; left out by those who only change something about it. */
  claim: claim.optional(),
});
export type OpenRequest = z.input<typeof openRequest>;

/** A request that an edge leads to a backend. */
export const edgeProbe = z.strictObject({
  /** @default the path of the backend's health check, else "/" */
  path: urlPath.optional(),
  /** Host that is asked for. @default "localhost" */
  host: routeMatch.shape.host,
});

const secretNames = z.record(name, z.array(z.string()));

/** One step of a transaction. Each is idempotent, and undone as a whole with its transaction. */
export const step = z.discriminatedUnion("verb", [
  z.strictObject({ verb: z.literal("edge.set"), edge: name, spec: edgeSpec }),
  z.strictObject({ verb: z.literal("edge.remove"), edge: name }),
  z.strictObject({ verb: z.literal("backend.set"), edge: name, backend: name, spec: backendSpec }),
  z.strictObject({ verb: z.literal("backend.remove"), edge: name, backend: name }),
  z.strictObject({
    verb: z.literal("server.drain"),
    edge: name,
    backend: name,
    server: serverKey,
    /** Time that what uses the server has to end. */
    deadline: duration({ max: "7 days" }),
    /** Time for which the server stays out of the traffic, once nothing uses it, if the holder dies: its host needs it to put back what was there. @default "0 seconds" */
    hold: duration({ max: "1 hour" }).default("0 seconds"),
    /** Whether it may be the last one that takes requests: they are answered with 503 then. @default false */
    last: z.boolean().default(false),
  }),
  z.strictObject({
    verb: z.literal("server.enable"),
    edge: name,
    backend: name,
    server: serverKey,
    /** Time until it must have answered well through the edge. */
    deadline: duration({ max: "1 hour" }),
    probe: edgeProbe.prefault({}),
  }),
  z
    .strictObject({
      verb: z.literal("pool.start"),
      pool: name,
      spec: poolProperties,
      /** Names of environment variables by process whose values are secret. */
      secrets: secretNames.default({}),
      /** The candidate to run beside it. @default none: the current one ends */
      canary: z
        .strictObject({
          release,
          processes: poolProperties.shape.processes,
          /** As those of the pool. */
          secrets: secretNames.default({}),
        })
        .optional(),
    })
    .superRefine(
      (start, context) => {
        const { spec, secrets, canary } = (start ?? {}) as Partial<typeof start>;
        checkPool(spec, secretNames.safeParse(secrets).data ?? {}, context, ["spec"]);
        if (typeof canary !== "object" || canary === null) return;
        for (const { path, message } of candidateProblems(spec, canary, secretNames.safeParse(canary.secrets).data))
          context.addIssue({ code: "custom", path: ["canary", ...path], message });
      },
      // Also where a property is malformed, so that all problems come at once.
      { when: () => true },
    ),
  z.strictObject({ verb: z.literal("pool.switch"), pool: name }),
  z.strictObject({ verb: z.literal("pool.follow"), pool: name }),
  /** The candidate's share of the requests. */
  z.strictObject({ verb: z.literal("pool.share"), pool: name, share: poolShare }),
  /**
   * Ends the candidate: it gets no more requests, testers' included, and drains and stops after the commit. `breach`:
   * why, if that is no choice; it is reported until there is another candidate.
   */
  z.strictObject({ verb: z.literal("pool.withdraw"), pool: name, breach: line(1000).optional() }),
  z.strictObject({ verb: z.literal("pool.remove"), pool: name }),
  z.strictObject({ verb: z.literal("route.set"), route: name, spec: routeSpec }),
  z.strictObject({ verb: z.literal("route.remove"), route: name }),
]);
export type Step = z.output<typeof step>;
export type StepInput = z.input<typeof step>;

/** Target of a step. */
export function targetOf(step: Step | StepInput): Target {
  if ("route" in step) return `route/${step.route}`;
  if ("pool" in step) return `pool/${step.pool}`;
  return "backend" in step ? `backend/${step.edge}/${step.backend}` : `edge/${step.edge}`;
}

/** A target as people write it, such as `pool web`. */
export function titleOf(target: Target): string {
  return target.replace("/", " ");
}

/**
 * The phases of a promotion, in order, as they stand in the events of a transaction. Faults are tested at each of them.
 * `open`: nothing has changed. `start`: the candidate's processes start. `healthy`: they answer. `switch`: traffic moves.
 * `follow`: service templates and singletons. `commit`: recorded. `retire`: the old release drains and stops.
 */
export const PHASES = ["open", "start", "healthy", "switch", "follow", "commit", "retire"] as const;
/**
 * Beside them, edges have `drain` and `enable` while a server of theirs is out of the traffic for another host's
 * promotion, and `take` tells which existing processes were taken over.
 */
export type Phase = (typeof PHASES)[number] | "drain" | "enable" | "take";

/** Events of one transaction or one process, one JSON line each. */
export interface AgentEvent {
  at: string;
  message: string;
  data: Record<string, unknown>;
}

/** Text to add to the message of an undo after which something was not up yet. */
export function butNotUp(what: string | undefined): string {
  return what === undefined ? "" : `, but not all of it is up yet: ${what}`;
}
