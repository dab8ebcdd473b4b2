import * as pulumi from "@pulumi/pulumi";
import type { RouteLive } from "../src/model/protocol/live";
import { Route as RouteResource, type RouteArgs as RouteResourceArgs } from "../src/provider/classes/route";
import type { AgentRef } from "../src/provider/resources/agent-ref";
import type { HaproxyEdge } from "./haproxy-edge";

export interface RouteArgs extends Omit<RouteResourceArgs, "agent" | "name" | "edges"> {
  /** Edges that route so, of one or several hosts: they move in step. Change: hitless reload. */
  edges: [HaproxyEdge, ...HaproxyEdge[]];
  /** Name on its host, which another component name with an alias keeps. @default the component's name. Change: refused. */
  name?: string | undefined;
}

/**
 * Routes requests of an edge to its backends, and moves them to another backend in stages. Give the backends as outputs
 * of what makes them (`stable: pool.backend`), since they must be there before requests are led to them.
 *
 * ```ts
 * new Route("api", {
 *   edges: [edge], // with `meter: true`, which the gate judges by
 *   stable: blue.backend,
 *   candidate: green.backend,
 *   stages: [
 *     { split: "10%", window: "10 minutes", gates: [{ kind: "sli", thresholds: ["p95 < 500 ms", "5xx < 0.5 %"] }] },
 *     { split: "100%", window: "1 hour", gates: [{ kind: "health" }] },
 *   ],
 *   stage: config.get("stage") ?? "stable",
 * });
 * ```
 */
export class Route extends pulumi.ComponentResource {
  /** Reality as it was last observed: the candidate's share on each edge. */
  readonly live: pulumi.Output<RouteLive>;

  constructor(name: string, args: RouteArgs, options?: pulumi.ComponentResourceOptions) {
    super("sluice:components:Route", name, {}, options);
    const { edges, name: routeName = name, ...rest } = args;
    const groups = byAgent(edges);
    const route = new RouteResource(
      `${name}-route`,
      {
        ...rest,
        agent: groups.apply(([first]) => first.agent),
        edges: groups.apply(([first]) => first.edges),
        others: groups.apply(([, ...others]) => (others.length === 0 ? undefined : others)),
        name: routeName,
      },
      { parent: this },
    );
    this.live = route.live;
    this.registerOutputs({ live: this.live });
  }
}

/** Edges of each agent, in the order in which they are named. */
interface Group {
  agent: AgentRef;
  edges: string[];
}

function byAgent(edges: RouteArgs["edges"]): pulumi.Output<[Group, ...Group[]]> {
  const all = edges.map(({ agent, edgeName }) => pulumi.all([agent, edgeName]));
  return pulumi.all(all).apply((found) => {
    const groups = new Map<string, Group>();
    for (const [agent, edge] of found) {
      const group = groups.get(agent.directory);
      if (group === undefined) groups.set(agent.directory, { agent, edges: [edge] });
      else group.edges.push(edge);
    }
    return [...groups.values()] as [Group, ...Group[]];
  });
}
