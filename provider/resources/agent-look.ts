import type { AgentStatus, BackendObservation, EdgeAnswer } from "../../agent/api";
import type { AgentClient } from "../../agent/client/client";
import { AgentError, UnreachableError } from "../../agent/client/connection";

/** How long one look at everything on an agent serves the reads of its backends, in milliseconds. */
const LOOK_MS = 250;

type Look = Pick<AgentStatus, "backends" | "edges">;

const looks = new Map<string, { at: number; look: Promise<Look> }>();

/**
 * What a backend is now, or was a moment ago. Engines read hundreds of backends right after each other before a preview;
 * each look at HAProxy tells about all of them, so they share it. Nothing but reads may use this: who changes something
 * asks the agent itself.
 *
 * @param id `edge/backend`
 */
export async function lookAtBackend(client: AgentClient, id: string): Promise<BackendObservation | undefined> {
  const shared = (await look(client)).backends[id];
  if (shared !== undefined && "live" in shared) return shared;
  // What is gone is deleted from the stack's state, so that is asked for by name, and now.
  const [edge = "", name = ""] = id.split("/");
  return client.backend(edge, name);
}

/** What an edge is now, or was a moment ago, likewise. */
export async function lookAtEdge(client: AgentClient, name: string): Promise<EdgeAnswer | undefined> {
  const shared = (await look(client)).edges[name];
  return shared !== undefined && "live" in shared ? shared : client.edge(name);
}

function look(client: AgentClient): Promise<Look> {
  const known = looks.get(client.socket);
  if (known !== undefined && performance.now() - known.at < LOOK_MS) return known.look;
  const found = client.status().catch((error: unknown): Look => {
    // One thing that can't be observed must not hide the others: they are then asked for one by one.
    if (error instanceof AgentError && !(error instanceof UnreachableError)) return { backends: {}, edges: {} };
    throw error;
  });
  looks.set(client.socket, { at: performance.now(), look: found });
  return found;
}
