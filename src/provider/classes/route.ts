import * as pulumi from "@pulumi/pulumi";
import type { RouteDeclarations } from "../../model/policy/declared";
import type { RouteLive } from "../../model/protocol/live";
import type { DeclaredRouteInput } from "../../model/route/route";
import type { AgentRef } from "../resources/agent-ref";
import type { RouteHost } from "../rollout/route-hosts";
import type { DeepInput } from "./input";

/** A route on edges of one or several agents. See {@link DeclaredRouteInput} and {@link RouteDeclarations} for units, ranges and defaults. */
export type RouteArgs = { [Property in keyof DeclaredRouteInput]: DeepInput<DeclaredRouteInput[Property]> } & {
  [Property in keyof RouteDeclarations]: DeepInput<RouteDeclarations[Property]>;
} & {
  /** The agent of `edges`. Change: live, it ends on agents that are left out. */
  agent: pulumi.Input<AgentRef>;
  /** Edges of further agents, which move in step with those. @default none */
  others?: pulumi.Input<RouteHost[] | undefined>;
  /** Name on its agents. Change: refused. */
  name: pulumi.Input<string>;
};

/** Routes requests to backends, and moves them to another backend in stages. */
export class Route extends pulumi.CustomResource {
  declare readonly name: pulumi.Output<string>;
  /** Reality as it was last observed. */
  declare readonly live: pulumi.Output<RouteLive>;

  constructor(name: string, args: RouteArgs, options?: pulumi.CustomResourceOptions) {
    super("sluice:index:Route", name, { ...args, live: undefined }, options);
  }
}
