import type { ProcessManager } from "../processes/process-manager";

export interface HaproxyOptions {
  /** Name of the edge. */
  name: string;
  /** The edge's folder: config, sockets and record. Created where it is missing. */
  directory: string;
  processes: Pick<ProcessManager, "launch" | "signal" | "stop" | "get" | "remove" | "tail" | "owns">;
  /** Path of HAProxy, 2.6 or newer. */
  binary: string;
  /** Path of the mirror's socket. Needed where a route has a mirror or a sample. */
  mirror?: string | undefined;
  /** Throws where the folder's path may lead to another agent's folder by now, or to none: a HAProxy that runs is not reloaded then. */
  assertOwnFolder: () => Promise<void>;
  log: (message: string, data?: object) => void;
}
