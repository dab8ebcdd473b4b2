import { z } from "zod";

const time = z.iso.datetime().describe("ISO 8601");

const problem = z.strictObject({
  subject: z.string().describe("subject of the problem, such as `pool web` or `worker#0 of pool web`"),
  message: z.string(),
  outage: z.boolean().optional().describe("true if requests fail because of it, or if that can't be known"),
});
export type StatusProblem = z.output<typeof problem>;

const processStatus = z.strictObject({
  key: z.string().describe("name inside its pool, such as `web#0`"),
  id: z.string().describe("id on its host, such as `web.3.web.0`"),
  policy: z.string(),
  release: z.string(),
  current: z.boolean().describe("false if its release is being replaced"),
  state: z.string(),
  port: z.int().optional(),
  pid: z.int().optional(),
  startedAt: time.optional(),
  restarts: z.int().describe("unplanned restarts since it was deployed"),
  restartsInWindow: z.int().describe("restarts that count against its restart policy now"),
  maxRestarts: z.int().optional().describe("number of restarts in the window beyond which it is failed"),
  memoryBytes: z.int().optional().describe("memory of its whole process group, if the agent has measured it"),
  health: z
    .string()
    .optional()
    .describe("`healthy`, `unhealthy`, or the state of its server in HAProxy if that is not `ready`, such as `maint`"),
  sessions: z.int().optional().describe("current requests and other streams, if it takes traffic"),
  since: time.optional().describe("start of its current state"),
  reason: z.string().optional().describe("reason of its last change of state, such as `deploy`, `crash` or `manual`"),
  lastExit: z.string().optional().describe("its last exit, such as `code 3` or `SIGKILL`"),
});
export type ProcessStatus = z.output<typeof processStatus>;

const poolStatus = z.strictObject({
  name: z.string(),
  edge: z.string().optional().describe("absent for a pool that is replaced in place"),
  release: z.string().describe("current release; empty before the first"),
  generation: z.int(),
  candidate: z
    .strictObject({
      release: z.string(),
      split: z.string().describe("intended share of the pool's requests, such as `10%`"),
      committed: z.string().describe("committed share; differs from `split` during a rollout"),
    })
    .optional()
    .describe("candidate beside the current release"),
  withdrawn: z
    .strictObject({ release: z.string(), why: z.string(), at: time })
    .optional()
    .describe('last candidate that a breach ended with `onBreach: "stable"`, until the next candidate'),
  retained: z
    .array(z.strictObject({ release: z.string(), retiredAt: time }))
    .describe("targets for a rollback, newest first"),
  processes: z.array(processStatus),
});
export type PoolStatus = z.output<typeof poolStatus>;

const edgeStatus = z.strictObject({
  name: z.string(),
  haproxy: z.enum(["running", "stopped"]),
  config: z.enum(["as declared", "changed by hand", "not loaded", "without a renewed certificate"]),
  version: z.string().optional(),
  workerPid: z.int().optional(),
  workerUptimeSeconds: z.int().optional(),
  clients: z.int().describe("current connections, including those of old workers"),
  oldWorkers: z.int().describe("workers from before a reload that finish their connections"),
  frontends: z.array(z.strictObject({ name: z.string(), status: z.string(), clients: z.int() })),
});
export type EdgeStatus = z.output<typeof edgeStatus>;

const routeStatus = z.strictObject({
  name: z.string(),
  stable: z.string(),
  candidate: z.string().optional(),
  split: z.string().describe("intended share of the candidate, such as `10%`"),
  committed: z.string().describe("committed share; differs from `split` during a rollout"),
  stage: z.string().optional().describe("name of its current stage, if any"),
  mirror: z
    .strictObject({ to: z.string(), share: z.string() })
    .optional()
    .describe("backend that gets copies of its requests, and the intended share"),
  edges: z
    .array(z.strictObject({ edge: z.string(), split: z.string().optional() }))
    .describe("state in each edge's HAProxy; without a share if it does not run"),
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
    guarded: z.boolean().describe("whether a guard or systemd restarts it when it dies"),
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
