/**
 * The state machine of a pool's process: its states, its changes, and their reasons. One function says which state
 * follows; whatever it does not name does not change the state.
 */

/**
 * `quieting`: its quiet command runs. `draining`: what still uses it ends. `backoff`: waits for its next start.
 * `failed`: was started too often, and stays down until somebody restarts it or deploys.
 */
export const PROCESS_STATES = [
  "starting",
  "running",
  "quieting",
  "draining",
  "stopping",
  "stopped",
  "backoff",
  "failed",
] as const;
export type ProcessState = (typeof PROCESS_STATES)[number];

/** Why a process changed its state. `adopted`: a new agent found it, or the host came back. */
export const REASONS = ["deploy", "rollback", "crash", "manual", "memory", "unhealthy", "adopted", "undo"] as const;
export type Reason = (typeof REASONS)[number];

/**
 * Changes of a process: `launch`, it is started; `up`, it came up; `quiet`, `drain` and `stop`, the steps of its end;
 * `keep`, it is wanted again; `gone`, nothing is left of it; `wait`, it will be started later; `give-up`, it will not.
 */
export const PROCESS_CHANGES = ["launch", "up", "quiet", "drain", "stop", "keep", "gone", "wait", "give-up"] as const;
export type ProcessChange = (typeof PROCESS_CHANGES)[number];

const NEXT: Record<ProcessState, Partial<Record<ProcessChange, ProcessState>>> = {
  starting: {
    up: "running",
    quiet: "quieting",
    drain: "draining",
    stop: "stopping",
    gone: "stopped",
    wait: "backoff",
    "give-up": "failed",
  },
  running: {
    quiet: "quieting",
    drain: "draining",
    stop: "stopping",
    gone: "stopped",
    wait: "backoff",
    "give-up": "failed",
  },
  quieting: { drain: "draining", stop: "stopping", gone: "stopped" },
  draining: { keep: "running", stop: "stopping", gone: "stopped" },
  stopping: { gone: "stopped" },
  stopped: { launch: "starting", wait: "backoff", "give-up": "failed" },
  backoff: { launch: "starting", gone: "stopped", "give-up": "failed" },
  failed: { launch: "starting", gone: "stopped" },
};

/** States of a process that does not run and should: it waits for its next start, or for somebody. */
export const DOWN_STATES = ["backoff", "failed"] as const satisfies readonly ProcessState[];
export type DownState = (typeof DOWN_STATES)[number];

/** The state after a change; the same one where the change means nothing to it. */
export function nextState(state: ProcessState, change: ProcessChange): ProcessState {
  return NEXT[state][change] ?? state;
}
