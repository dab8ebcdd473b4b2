import { z } from "zod";
import { AgentClient } from "../../agent/client/client";
import { type DeclaredRoute, declaredRoute, routeAt } from "../../model/route/route";
import type { StagePosition } from "../../model/route/stages";
import { type AgentRef, agentRef } from "../resources/agent-ref";

/** Edges of one agent. */
const routeHost = z.strictObject({ agent: agentRef, edges: declaredRoute.shape.edges });
export type RouteHost = z.output<typeof routeHost>;

/** Most agents of one route, beside the first. */
const MAX_OTHERS = 15;

/** Edges of a route on further agents, each agent once. */
export const otherHosts = z
  .array(routeHost)
  .max(MAX_OTHERS)
  .superRefine((hosts, context) => {
    for (const [index, { agent }] of hosts.entries())
      if (hosts.slice(0, index).some((other) => other.agent.directory === agent.directory))
        context.addIssue({
          code: "custom",
          path: [index, "agent"],
          message: `${agent.directory} is named twice: name all of its edges in one place`,
        });
  })
  .optional();

/** All agents that have edges of a route, the first one first. */
export function hostsOf({
  agent,
  edges,
  others = [],
}: {
  agent: AgentRef;
  edges: string[];
  others?: RouteHost[] | undefined;
}): [RouteHost, ...RouteHost[]] {
  return [{ agent, edges }, ...others];
}

/** Name of each edge in a list of all: its own, with its agent if another host has an edge of that name. */
export function edgeKeys(hosts: readonly RouteHost[]): { host: RouteHost; edge: string; key: string }[] {
  const all = hosts.flatMap((host) => host.edges.map((edge) => ({ host, edge })));
  return all.map(({ host, edge }) => {
    const alone = all.filter((other) => other.edge === edge).length === 1;
    return { host, edge, key: alone ? edge : `${edge}@${host.agent.directory}` };
  });
}

/** The step that brings a route on one agent's edges to a place. */
export function setStep(route: string, declared: DeclaredRoute, edges: string[], position: StagePosition) {
  return { verb: "route.set" as const, route, spec: { ...routeAt(declared, position), edges } };
}

/** Runs work with clients of all agents, and closes them. */
export async function withHosts<T>(
  hosts: readonly RouteHost[],
  work: (hosts: (RouteHost & { client: AgentClient })[]) => Promise<T>,
): Promise<T> {
  const open = hosts.map((host) => ({ ...host, client: new AgentClient(host.agent.socket) }));
  try {
    return await work(open);
  } finally {
    for (const { client } of open) client.close();
  }
}
