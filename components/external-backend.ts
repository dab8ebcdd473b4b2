import * as pulumi from "@pulumi/pulumi";
import { Backend, type BackendArgs } from "../src/provider/classes/backend";
import type { HaproxyEdge } from "./haproxy-edge";

export interface ExternalBackendArgs extends Omit<BackendArgs, "agent" | "edge" | "name"> {
  /** Edge that leads there. Change: refused while it serves. */
  edge: HaproxyEdge;
  /** Name on its edge, which another component name with an alias keeps. @default the component's name. Change: refused while it serves. */
  name?: string | undefined;
}

/** A backend of an edge with servers that something else runs, such as another host or a container. */
export class ExternalBackend extends pulumi.ComponentResource {
  /** Name on the edge, for routes. */
  readonly backend: pulumi.Output<string>;

  constructor(name: string, args: ExternalBackendArgs, options?: pulumi.ComponentResourceOptions) {
    super("sluice:components:ExternalBackend", name, {}, options);
    const { edge, name: backendName = name, ...rest } = args;
    const backend = new Backend(
      `${name}-backend`,
      { ...rest, agent: edge.agent, edge: edge.edgeName, name: backendName },
      { parent: this },
    );
    this.backend = backend.name;
    this.registerOutputs({ backend: this.backend });
  }
}
