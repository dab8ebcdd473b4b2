import * as pulumi from "@pulumi/pulumi";
import { Edge, type EdgeArgs } from "../src/provider/classes/edge";
import type { AgentRef } from "../src/provider/resources/agent-ref";
import type { LocalHost } from "./local-host";

export interface HaproxyEdgeArgs extends Omit<EdgeArgs, "agent" | "name"> {
  /** Host that runs the HAProxy. Change: refused while it serves. */
  host: LocalHost;
  /** Name on its host, which another component name with an alias keeps. @default the component's name. Change: refused. */
  name?: string | undefined;
}

/** A HAProxy on a host, with its frontends. */
export class HaproxyEdge extends pulumi.ComponentResource {
  /** Name of the edge on its host's agent. */
  readonly edgeName: pulumi.Output<string>;
  /** Its first listener, `address:port`. */
  readonly address: pulumi.Output<string>;
  /** The agent of its host. */
  readonly agent: pulumi.Output<AgentRef>;

  constructor(name: string, args: HaproxyEdgeArgs, options?: pulumi.ComponentResourceOptions) {
    super("sluice:components:HaproxyEdge", name, {}, options);
    const { host, name: edgeName = name, ...spec } = args;
    const edge = new Edge(`${name}-edge`, { ...spec, agent: host.agent, name: edgeName }, { parent: this });
    this.edgeName = edge.name;
    this.address = edge.address;
    this.agent = edge.agent;
    this.registerOutputs({ edgeName: this.edgeName, address: this.address });
  }
}
