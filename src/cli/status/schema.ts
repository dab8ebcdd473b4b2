import { z } from "zod";

const time = z.iso.datetime().describe("ISO 8601");

const problem = z.strictObject({
  subject: z.string().describe("what has it, such as `pool web` or `worker#0 of pool web`"),
  message: z.string(),
  outage: z.boolean().optional().describe("true where requests fail because of it, or nobody can tell whether they do"),
});
export type StatusProblem = z.output<typeof problem>;

const processStatus = z.strictObject({
  key: z.string().describe("inside its pool, such as `web#0`"),
  id: z.string().describe("on its host, such as `web.3.web.0`"),
  policy: z.string(),
  release: z.string(),
  current: z.boolean().describe("false for one of a release that leaves"),
  state: z.string(),
  port: z.int().optional(),
  pid: z.int().optional(),
  startedAt: time.optional(),
  restarts: z.int().describe("that nobody asked for, since it was deployed"),
  restartsInWindow: z.int().describe("that count against its restart policy now"),
  maxRestarts: z.int().optional().describe("after so many in its window it has failed"),
  memoryBytes: z.int().optional().describe("of its whole process group, where the agent has measured it"),
  health: z
    .string()
    .optional()
    .describe(
      "`healthy`, `unhealthy`, or the state of its server in HAProxy where that is not `ready`, such as `maint`",
    ),
  sessions: z.int().optional().describe("requests and other streams on it now, where it takes traffic"),
  since: time.optional().describe("of its state"),
  reason: z.string().optional().describe("of its last change of state, such as `deploy`, `crash` or `manual`"),
  lastExit: z.string().optional().describe("how it ended the last time, such as `code 3` or `SIGKILL`"),
});
export type ProcessStatus = z.output<typeof processStatus>;

const poolStatus = z.strictObject({
  name: z.string(),
  edge: z.string().optional().describe("none for a pool that is replaced in place"),
  release: z.string().describe("that serves; empty before the first"),
  generation: z.int(),
  candidate: z
    .strictObject({
      release: z.string(),
      split: z.string().describe("its share of the pool's requests as it should be now, such as `10%`"),
      committed: z.string().describe("the share that was committed; another one than `split` during a rollout"),
    })
    .optional()
    .describe("candidate beside the release that serves"),
  withdrawn: z
    .strictObject({ release: z.string(), why: z.string(), at: time })
    .optional()
    .describe('candidate that a breach ended with `onBreach: "stable"`, until there is another one'),
  retained: z
    .array(z.strictObject({ release: z.string(), retiredAt: time }))
    .describe("targets for a rollback, newest first"),
  processes: z.array(processStatus),
});
export type PoolStatus = z.output<typeof poolStatus>;

const edgeStatus = z.strictObject({
  name: z.string(),
  haproxy: z.enum(["running", "stopped"]),
  config: z.enum(["as declared", "changed by hand", "not loaded"]),
  version: z.string().optional(),
  workerPid: z.int().optional(),
  workerUptimeSeconds: z.int().optional(),
  clients: z.int().describe("connections now, those of old workers included"),
  oldWorkers: z.int().describe("which finish what they had before a reload"),
  frontends: z.array(z.strictObject({ name: z.string(), status: z.string(), clients: z.int() })),
});
export type EdgeStatus = z.output<typeof edgeStatus>;

const routeStatus = z.strictObject({
  name: z.string(),
  stable: z.string(),
  candidate: z.string().optional(),
  split: z.string().describe("the candidate's share as it should be now, such as `10%`"),
  committed: z
    .string()
    .describe("the share that was committed; another one than `split` while a promotion is under way"),
  stage: z.string().optional().describe("its name, where it is at one"),
  mirror: z
    .strictObject({ to: z.string(), share: z.string() })
    .optional()
    .describe("backend that gets copies of its requests, and the share as it should be now"),
  edges: z
    .array(z.strictObject({ edge: z.string(), split: z.string().optional() }))
    .describe("what each edge's HAProxy has; without a share where it does not run"),
});
export type RouteStatus = z.output<typeof routeStatus>;

const backendStatus = z.strictObject({
  name: z.string(),
  edge: z.string(),
  servers: z.array(z.strictObject({ name: z.string(), address: z.string(), state: z.string(), weight: z.int() })),
});
export type BackendStatus = z.output<typeof backendStatus>;

/** Document of `sluice status --json`. */
export const statusDocument = z.strictObject({
  at: time,
  where: z.string().describe("socket or host of the agent"),
  agent: z.strictObject({
    version: z.string(),
    pid: z.int(),
    since: time,
    directory: z.string(),
    socket: z.string(),
    guarded: z.boolean().describe("whether something restarts it when it dies"),
  }),
  problems: z.array(problem),
  transactions: z.array(
    z.strictObject({
      target: z.string(),
      state: z.string(),
      who: z.string(),
      pid: z.int(),
      since: time,
      reason: z.string().optional(),
    }),
  ),
  edges: z.array(edgeStatus),
  routes: z.array(routeStatus),
  pools: z.array(poolStatus),
  backends: z.array(backendStatus),
});
export type StatusDocument = z.output<typeof statusDocument>;
