import type { AgentStatus, BackendObservation, EdgeAnswer } from "../../agent/api/answers";
import type { AgentClient } from "../../agent/client/client";
import { AgentError, UnreachableError } from "../../agent/client/connection";

/** How long one status of an agent serves the reads of its backends once it is there, in milliseconds. */
const SHARED_MS = { least: 250, most: 2000 };
/** The same, as a multiple of the time that the status took: with hundreds of backends, or a busy host, each costs more. */
const SHARED_TIMES = 3;

type SharedStatus = Pick<AgentStatus, "backends" | "edges">;

const statuses = new Map<string, { until: number; status: Promise<SharedStatus> }>();

/**
 * State of a backend, now or a moment ago. Engines read hundreds of backends right after each other before a preview;
 * one status tells about all of them, so they share it. Nothing but reads may use this: who changes something asks the
 * agent itself.
 *
 * @param id `edge/backend`
 */
export async function observeBackend(client: AgentClient, id: string): Promise<BackendObservation | undefined> {
  const shared = (await sharedStatus(client)).backends[id];
  if (shared !== undefined && "live" in shared) return shared;
  // A missing backend is deleted from the stack's state, so confirm that by name, and now.
  const [edge = "", name = ""] = id.split("/");
  return client.backend(edge, name);
}

/** State of an edge, now or a moment ago, likewise. */
export async function observeEdge(client: AgentClient, name: string): Promise<EdgeAnswer | undefined> {
  const shared = (await sharedStatus(client)).edges[name];
  return shared !== undefined && "live" in shared ? shared : client.edge(name);
}

function sharedStatus(client: AgentClient): Promise<SharedStatus> {
  const known = statuses.get(client.socket);
  if (known !== undefined && performance.now() < known.until) return known.status;
  const begun = performance.now();
  const found = client.status().catch((error: unknown): SharedStatus => {
    // One thing that can't be observed must not hide the others: they are then asked for one by one.
    if (error instanceof AgentError && !(error instanceof UnreachableError)) return { backends: {}, edges: {} };
    throw error;
  });
  const entry = { until: Number.POSITIVE_INFINITY, status: found };
  const settled = () => {
    const now = performance.now();
    entry.until = now + Math.min(Math.max(SHARED_MS.least, SHARED_TIMES * (now - begun)), SHARED_MS.most);
  };
  found.then(settled, settled);
  statuses.set(client.socket, entry);
  return found;
}
