import type { AgentClient } from "../../agent/client/client";
import { AgentError, UnreachableError } from "../../agent/client/connection";
import type { Gate } from "../../model/gate/gate";
import { isMetered, nameOf } from "../../model/gate/gate";
import type { Rollout, Stage } from "../../model/route/stages";
import { type AgentRef, withAgent } from "../resources/agent-ref";
import type { Failure, Unknown } from "../server";

/** Whether each edge is metered as this run of the program declares it, by agent and edge. */
const declared = new Map<string, boolean | Unknown>();

/**
 * Notes what a program says of an edge, so that what depends on the edge is checked against what it will be: it may be
 * given a meter by the same update that uses it.
 */
export function noteMeter({ directory }: AgentRef, edge: string, meter: boolean | Unknown): void {
  declared.set(`${directory} ${edge}`, meter);
}

/** Gates that judge by a meter which is off, as failures of a resource's `stages`. Where nothing is known of an edge, none. */
export async function meterFailures(
  agent: AgentRef,
  edges: readonly string[],
  stages: readonly Stage[],
): Promise<Failure[]> {
  const needing = stages.flatMap(({ gates }, stage) =>
    gates.flatMap((gate, index) => (needsMeter(gate) ? [`stages[${stage}].gates[${index}]`] : [])),
  );
  if (needing.length === 0) return [];
  const off = await withAgent(agent, (client) =>
    withoutMeter(client, edges, (edge) => declared.get(`${agent.directory} ${edge}`)),
  );
  return off.length === 0 ? [] : needing.map((property) => ({ property, reason: remedy(off) }));
}

/** Says which edges of a rollout lack the meter that one of its gates judges by. */
export async function unmeteredProblem(
  client: AgentClient,
  edges: readonly string[],
  { steps }: Pick<Rollout, "steps">,
): Promise<string | undefined> {
  const gate = steps.flatMap(({ stage }) => stage.gates).find(needsMeter);
  if (gate === undefined) return undefined;
  const off = await withoutMeter(client, edges);
  return off.length === 0 ? undefined : `gate ${nameOf(gate)} ${remedy(off)}`;
}

function needsMeter(gate: Gate): boolean {
  return isMetered(gate);
}

function remedy(off: readonly string[]): string {
  const edges = `${off.length === 1 ? "edge" : "edges"} ${off.join(", ")}`;
  return `judges by the meter of ${edges}, which is off: declare meter: true there (HAProxy then writes a log line per request), or judge by Prometheus`;
}

async function withoutMeter(
  client: AgentClient,
  edges: readonly string[],
  known: (edge: string) => boolean | Unknown | undefined = () => undefined,
): Promise<string[]> {
  const metered = await Promise.all(edges.map(async (edge) => known(edge) ?? (await hasMeter(client, edge))));
  return edges.filter((_, index) => metered[index] === false);
}

/** Whether an edge of an agent is metered; undefined if the agent can't be asked, or has no such edge (yet). */
async function hasMeter(client: AgentClient, edge: string): Promise<boolean | undefined> {
  const now = Date.now();
  try {
    await client.sli({ edge, from: now - 1, to: now });
    return true;
  } catch (error) {
    if (error instanceof AgentError && error.code === "no-meter") return false;
    if (error instanceof UnreachableError || (error instanceof AgentError && error.code === "not-found"))
      return undefined;
    throw error;
  }
}
