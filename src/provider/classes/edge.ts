import * as pulumi from "@pulumi/pulumi";
import type { EdgeInput } from "../../model/edge/edge";
import type { AgentRef } from "../resources/agent-ref";
import type { DeepInput } from "./input";

/** An agent's HAProxy: frontends, timeouts and limits. See {@link EdgeInput} for units, ranges and defaults. */
export type EdgeArgs = { [Property in keyof EdgeInput]: DeepInput<EdgeInput[Property]> } & {
  /** The agent that runs it. Change of its folder: refused while it serves. */
  agent: pulumi.Input<AgentRef>;
  /** Name on its agent. Change: refused. */
  name: pulumi.Input<string>;
};

/** A HAProxy instance of an agent. */
export class Edge extends pulumi.CustomResource {
  /** Name on its agent. */
  declare readonly name: pulumi.Output<string>;
  declare readonly agent: pulumi.Output<AgentRef>;
  /** Its first listener, `address:port`. */
  declare readonly address: pulumi.Output<string>;

  constructor(name: string, args: EdgeArgs, options?: pulumi.CustomResourceOptions) {
    super("sluice:index:Edge", name, { ...args, address: undefined }, options);
  }
}
