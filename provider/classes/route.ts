import * as pulumi from "@pulumi/pulumi";
import type { RouteLive } from "../../model/live";
import type { DeclaredRouteInput } from "../../model/route";
import type { AgentRef } from "../resources/agent-ref";
import type { DeepInput } from "./input";

/** A route on edges of an agent. See {@link DeclaredRouteInput} for units, ranges and defaults. */
export type RouteArgs = { [Property in keyof DeclaredRouteInput]: DeepInput<DeclaredRouteInput[Property]> } & {
  /** The agent of its edges. Change of its folder: replaces the route. */
  agent: pulumi.Input<AgentRef>;
  /** Name on its agent. Change: refused. */
  name: pulumi.Input<string>;
};

/** Which requests go to which backend, and the stages in which they go over to another one. */
export class Route extends pulumi.CustomResource {
  declare readonly name: pulumi.Output<string>;
  /** Reality as it was last observed. */
  declare readonly live: pulumi.Output<RouteLive>;

  constructor(name: string, args: RouteArgs, options?: pulumi.CustomResourceOptions) {
    super("sluice:index:Route", name, { ...args, live: undefined }, options);
  }
}
