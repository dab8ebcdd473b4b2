import type { About, EdgeAnswer } from "../../agent/api/answers";
import { AgentError } from "../../agent/client/connection";
import { type BackendHealth, downText } from "../../model/edge/backend-health";
import { UNGUARDED } from "../../model/protocol/agent";
import { type AgentRef, withAgent } from "../resources/agent-ref";
import type { Context } from "../server";
import { observeEdge } from "./shared-status";

interface Subject {
  agent: AgentRef;
  edge: string;
  /** Whether a backend concerns the resource. */
  concerns: (backend: string, health: BackendHealth) => boolean;
  /** How the declared inputs end an outage, such as `leads its requests elsewhere`; undefined if they do not. */
  repairedBy: (backend: string, health: BackendHealth) => string | undefined;
}

/** Warns where requests are answered with 503 now, and says whether the update ends that. Silent where the agent can't be asked. */
export async function warnOfOutages(context: Context, { agent, edge, concerns, repairedBy }: Subject): Promise<void> {
  const answer = await edgeNow(agent, edge);
  if (answer?.live.haproxy !== "running") return;
  for (const [backend, health] of Object.entries(answer.backends ?? {})) {
    const text = downText(backend, health);
    if (text === undefined || !concerns(backend, health)) continue;
    warn(context, `edge ${edge}: ${text}`, {
      mended: repairedBy(backend, health),
      remedy: remedyOf(health),
    });
  }
}

/** Warns where another process takes some of an edge's requests. Silent where the agent can't be asked. */
export async function warnOfSharers(context: Context, { agent, edge }: Pick<Subject, "agent" | "edge">): Promise<void> {
  for (const sentence of (await edgeNow(agent, edge))?.sharers ?? [])
    warn(context, `edge ${edge}: ${sentence}, and takes some of its requests`, {
      mended: undefined,
      remedy: "stop that process",
    });
}

function edgeNow(agent: AgentRef, edge: string): Promise<EdgeAnswer | undefined> {
  return withAgent(agent, (client) => observeEdge(client, edge)).catch((error: unknown) => {
    // It has been told why by the read of before.
    if (error instanceof AgentError) return undefined;
    throw error;
  });
}

/** Warns where an agent can't change anything, or would not come back. */
export function warnOfAgent(context: Context, { directory, notes, guarded }: About): void {
  const subject = `the agent of ${directory}`;
  // Each says its own remedy.
  for (const note of notes) context.log.warn(`${subject}: ${note}`);
  if (!guarded) warn(context, `${subject}: ${UNGUARDED}`, { mended: "starts the agent again under a guard" });
}

interface Ways {
  /** How the update ends it; undefined if it does not. */
  mended: string | undefined;
  /** Given where the update does not end it. */
  remedy?: string;
}

function warn({ log, type }: Context, now: string, { mended: repaired, remedy }: Ways): void {
  const kind = (type.split(":").at(-1) ?? "").toLowerCase();
  log.warn(
    repaired === undefined
      ? `${now}. The update of this ${kind} does not mend that: ${remedy}`
      : `${now}. The update of this ${kind} mends that: it ${repaired}`,
  );
}

function remedyOf({ declared, servers }: BackendHealth): string {
  if (!declared) return "declare it, or lead the requests elsewhere";
  return servers.length === 0
    ? "declare servers that run"
    : "its servers must run, and be declared ready with a weight above 0";
}

/** How bringing HAProxy to what is declared ends an outage. */
export function repairedByConverging({ mendable }: BackendHealth): string | undefined {
  return mendable ? "corrects manual changes in HAProxy" : undefined;
}
