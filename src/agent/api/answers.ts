import type { BackendHealth } from "../../model/edge/backend-health";
import type { EvidenceRecord, EvidenceSummary } from "../../model/evidence/record";
import type { Runnable } from "../../model/pool/pool-generation";
import type { CandidateOutcome, PoolShare } from "../../model/pool/pool-share";
import type { DownReplica } from "../../model/pool/promotion-plan";
import type { Release } from "../../model/pool/release";
import type { AgentOptions } from "../../model/protocol/agent";
import type { BackendLive, EdgeLive, PoolLive } from "../../model/protocol/live";
import type { Ownership } from "../../model/protocol/ownership";
import type { Owner, Target } from "../../model/protocol/transaction";
import type { RouteSpec } from "../../model/route/route";
import type { ErrorShare } from "../haproxy/error-shares";
import type { EdgeObservation } from "../haproxy/observation";
import type { RestartAnswer, RestartRequest } from "../pools/supervise/restart-request";
import type { InstanceStatus } from "../pools/supervise/status";
import type { StepProblem } from "./api-error";

/** Shapes of the agent's answers, shared by its server and its client. */

export type Problem = StepProblem;
export type TransactionAnswer = TransactionStatus;

/** Facts about an agent itself. */
export interface About {
  version: string;
  protocol: number;
  pid: number;
  since: string;
  socket: string;
  directory: string;
  /** Problems of the state on disk at the start, and of its folder now. */
  notes: string[];
  /** Whether something restarts the agent when it dies. */
  guarded: boolean;
  /** The options that it was started with. */
  options: AgentOptions;
  /** By token: URNs of the resources that declare it. */
  declarers: Record<string, string>;
}

/** Owner of an observed target. */
interface Owned {
  owner?: Ownership | undefined;
}

export interface EdgeAnswer extends Owned {
  name: string;
  live: EdgeLive;
  observed: EdgeObservation;
  /** By name, also those that requests are led to and that are not there; an agent of before this was known leaves it out. */
  backends?: Record<string, BackendHealth>;
  /** Backends that answered a considerable share of the last minute's requests with a status from 500. @default nothing */
  errors?: Record<string, ErrorShare>;
  /** Processes that take some of its connections, one sentence each. @default nothing */
  sharers?: string[];
}

/**
 * `POST /v1/pools/:pool/restart`: `{process?, replica?, policy?, rolling?}`, all that is given must match. Answers with a
 * line `{event}` for each event of the pool meanwhile, then `{result: {restarted: ["web#0"]}}` or `{error: {code, message}}`.
 * Refused with 404 `not-found` or 409 `held` before the first line.
 */
export type { RestartAnswer, RestartRequest };

/** The candidate of a pool, beside the release that serves. */
export interface PoolShareAnswer {
  release: Release;
  generation: number;
  /** As it should be now, in an open transaction too; undefined if it takes no part yet. */
  share?: PoolShare | undefined;
  /** Share that was committed, in 1/10,000; 0 where it is just being started. */
  committed: number;
  /** Since when its share has been as it was committed, in milliseconds since the epoch; nothing before the first commit. */
  since?: number | undefined;
  /** Share that the edge's workers have, in 1/10,000; null where HAProxy does not run. */
  now: number | null;
}

export interface PoolObservation extends Owned {
  name: string;
  /** Edge whose backend of the pool's name it serves. */
  edge?: string | undefined;
  live: PoolLive;
  /** Of the release that serves; 0 before the first. */
  generation: number;
  /** The release that runs, that of an open promotion, and the candidate. */
  running: Release[];
  /** Undefined if there is no candidate. */
  candidate?: PoolShareAnswer | undefined;
  /** The last candidate, if a breach ended it and no other has begun since. */
  withdrawn?: { release: string; why: string; at: string } | undefined;
  /** Targets for a rollback, newest first; `gone` where neither the folder nor what was kept of it is there. */
  retained: { release: Release; retiredAt: string; gone?: boolean }[];
  /** Whether the folder of the release that serves is not there any more. */
  folderGone?: boolean;
  /** All processes, also those of releases that drain (not `current`). */
  processes: (InstanceStatus & {
    current: boolean;
    /** Of a service that does not run: the release of an open promotion whose template starts it. */
    startsFrom?: string | undefined;
  })[];
}

export interface BackendObservation extends Owned {
  name: string;
  edge: string;
  live: BackendLive;
}

export interface RouteAnswer extends Owned {
  name: string;
  /** As it should be now, in an open transaction too. */
  spec: RouteSpec;
  /** Split that was committed, in 1/10,000; 0 for a route that is just being made. */
  committed: number;
  /** Since when everything about it has been as it was committed, in milliseconds since the epoch; nothing before the first commit. */
  since?: number | undefined;
  /** By edge: the split that its workers have, in 1/10,000; null where HAProxy does not run. */
  splits: Record<string, number | null>;
  /** Edges on which the candidate takes no requests, so that its share goes to the stable backend. @default none */
  fallback?: string[];
  /** By edge: the share that goes to the mirror, likewise; left out where the route has none. */
  mirrors?: Record<string, number | null>;
}

/** Effect that a step would have on HAProxy. */
export interface PlanAnswer {
  /** `restart`: a pool in place is taken out of the traffic for it. */
  how: "nothing" | "runtime" | "reload" | "start" | "restart";
  reasons: string[];
  /** Outcome of the pool's candidate; left out if it has none. */
  candidate?: CandidateOutcome | undefined;
  /** Services of the pool that are down. @default nothing */
  down?: DownReplica[];
  /** Whether a pool's release has served here before, and is kept as it was then. @default false */
  served?: boolean;
  /** Releases that are not as they were when they served, or whose folder is gone, one sentence each. @default nothing */
  changed?: string[];
  /** Objects that must exist before the step, or it is refused; one sentence each. @default nothing */
  needs?: string[];
  /** Existing processes that it would end, and how, one sentence each. */
  takeover?: string[];
  /** Resource that has the step's target now, and whether everything that runs of it goes on as it is. */
  taken?: { from: string; asItRuns: boolean };
}

/** A part that could not be observed, and why. */
export interface NotObserved<T = never> {
  name: string;
  error: string;
  /** The parts that could be observed: of a pool all but those that its edge's HAProxy knows. */
  known?: T;
}

/**
 * `POST /v1/compare`: what is committed of a step's target, and what the step would commit, in one shape. A secret environment
 * variable is a keyed digest under `secretEnv`.
 */
export interface CompareAnswer<T extends Compared = Compared> {
  /** Absent if the target does not exist. */
  committed?: T | undefined;
  wanted: T;
  /** Of a pool that is there: ids of its releases in the order of their first promotion. */
  order?: string[];
  /** Of a route: its stable backend before the present one, since the agent has kept it. */
  stableBefore?: string | undefined;
}

/** Wanted spec of a target. */
export type Compared = Record<string, unknown>;

/** A pool in a comparison. */
export interface ComparedPool extends Runnable, Compared {
  /** The candidate, if there is one. */
  canary?: Runnable & Partial<PoolShare>;
}

export interface AgentStatus {
  agent: About;
  edges: Record<string, EdgeAnswer | NotObserved>;
  pools: Record<string, PoolObservation | NotObserved<PoolObservation>>;
  backends: Record<string, BackendObservation | NotObserved>;
  routes: Record<string, RouteAnswer | NotObserved>;
  transactions: TransactionStatus[];
}

export interface EvidenceList {
  /** Newest first. */
  evidence: EvidenceSummary[];
  /** Folders of those that can't be read. */
  unreadable: string[];
}

export interface EvidenceAnswer {
  record: EvidenceRecord;
  /** On the agent's host; left out where it could not be written. */
  folder?: string | undefined;
}

/** How a transaction stands. `undoing` still holds its target. */
type TransactionState = "open" | "undoing" | "committed" | "undone";

export interface TransactionStatus {
  id: string;
  target: Target;
  owner: Owner;
  since: string;
  state: TransactionState;
  /** Why it is or was undone. */
  reason?: string | undefined;
  /** Reason why the undo still waits: a part that it could not restore yet, at its last try, or that is not up yet. */
  delay?: string | undefined;
  /** Processes that were not up yet as the undo ended; left out if all were. */
  notUp?: string | undefined;
}
