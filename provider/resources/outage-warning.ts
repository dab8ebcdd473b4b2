import { AgentError } from "../../agent/client/connection";
import { type BackendHealth, isOut, outageText } from "../../model/backend-health";
import type { Context } from "../server";
import { lookAtEdge } from "./agent-look";
import { type AgentRef, withAgent } from "./agent-ref";

interface Subject {
  agent: AgentRef;
  edge: string;
  /** Whether a backend concerns the resource. */
  concerns: (backend: string, health: BackendHealth) => boolean;
  /** How the declared inputs end an outage, such as `leads its requests elsewhere`; nothing where they do not. */
  mendedBy: (backend: string, health: BackendHealth) => string | undefined;
}

/** Warns where requests are answered with 503 now, and says whether the update ends that. Silent where the agent can't be asked. */
export async function warnOfOutages(
  { log, type }: Context,
  { agent, edge, concerns, mendedBy }: Subject,
): Promise<void> {
  const answer = await withAgent(agent, (client) => lookAtEdge(client, edge)).catch((error: unknown) => {
    // It has been told why by the read of before.
    if (error instanceof AgentError) return undefined;
    throw error;
  });
  if (answer?.live.haproxy !== "running") return;
  for (const [backend, health] of Object.entries(answer.backends ?? {})) {
    if (!isOut(health) || !concerns(backend, health)) continue;
    const kind = (type.split(":").at(-1) ?? "").toLowerCase();
    const mended = mendedBy(backend, health);
    const now = `edge ${edge}: ${outageText(backend, health)}`;
    log.warn(
      mended === undefined
        ? `${now}. The update of this ${kind} does not mend that: ${remedyOf(health)}`
        : `${now}. The update of this ${kind} mends that: it ${mended}`,
    );
  }
}

function remedyOf({ declared, servers }: BackendHealth): string {
  if (!declared) return "declare it, or lead the requests elsewhere";
  return servers.length === 0
    ? "declare servers that run"
    : "its servers must run, and be declared ready with a weight above 0";
}

/** How bringing HAProxy to what is declared ends an outage. */
export function mendedByConverging({ mendable }: BackendHealth): string | undefined {
  return mendable ? "puts right in HAProxy what was changed by hand" : undefined;
}
