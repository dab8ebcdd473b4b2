import * as pulumi from "@pulumi/pulumi";
import type { RouteLive } from "../model/live";
import { Route as RouteResource, type RouteArgs as RouteResourceArgs } from "../provider/classes/route";
import type { AgentRef } from "../provider/resources/agent-ref";
import type { HaproxyEdge } from "./haproxy-edge";

export interface RouteArgs extends Omit<RouteResourceArgs, "agent" | "name" | "edges"> {
  /** Edges that route so, all of one host. Change: hitless reload. */
  edges: [HaproxyEdge, ...HaproxyEdge[]];
  /** Name on its host, which another component name with an alias keeps. @default the component's name. Change: refused. */
  name?: string | undefined;
}

/**
 * Which requests go to which backend of an edge, and the stages in which they go over to another one. Give the backends as
 * outputs of what makes them (`stable: pool.backend`), since they must be there before requests are led to them.
 */
export class Route extends pulumi.ComponentResource {
  /** Reality as it was last observed: the candidate's share on each edge. */
  readonly live: pulumi.Output<RouteLive>;

  constructor(name: string, args: RouteArgs, options?: pulumi.ComponentResourceOptions) {
    super("sluice:components:Route", name, {}, options);
    const { edges, name: routeName = name, ...rest } = args;
    const route = new RouteResource(
      `${name}-route`,
      { ...rest, agent: oneAgent(name, edges), edges: edges.map(({ edgeName }) => edgeName), name: routeName },
      { parent: this },
    );
    this.live = route.live;
    this.registerOutputs({ live: this.live });
  }
}

/** A transaction is on one agent, so that a route whose edges are on several could not change as one. */
function oneAgent(name: string, edges: RouteArgs["edges"]): pulumi.Output<AgentRef> {
  return pulumi.all(edges.map(({ agent }) => agent)).apply((agents) => {
    const [first, ...others] = agents as [AgentRef, ...AgentRef[]];
    const other = others.find(({ directory }) => directory !== first.directory);
    if (other !== undefined)
      throw new Error(
        `route ${name} has edges on several agents (${first.directory} and ${other.directory}): declare a route for each agent`,
      );
    return first;
  });
}
