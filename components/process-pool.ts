import * as pulumi from "@pulumi/pulumi";
import type { PoolLive } from "../src/model/protocol/live";
import { Pool, type PoolArgs } from "../src/provider/classes/pool";
import type { HaproxyEdge } from "./haproxy-edge";

export interface ProcessPoolArgs extends Omit<PoolArgs, "agent" | "name" | "edge"> {
  /** Edge whose backend of this pool's name the proxied process serves; the pool runs on the edge's host. Change: refused while it serves. */
  edge: HaproxyEdge;
  /** Name on its host and of its backend, which another component name with an alias keeps. @default the component's name. Change: refused. */
  name?: string | undefined;
}

/**
 * The processes of a release on a host: one `proxied` process that takes an edge's traffic, with `companion`s per release,
 * `singleton`s and `service`s. A changed release is promoted side by side, or the update fails and nothing has changed.
 */
export class ProcessPool extends pulumi.ComponentResource {
  /** Name of its backend on the edge, for routes. */
  readonly backend: pulumi.Output<string>;
  /** Reality as it was last observed: release, servers in HAProxy, processes. */
  readonly live: pulumi.Output<PoolLive>;

  constructor(name: string, args: ProcessPoolArgs, options?: pulumi.ComponentResourceOptions) {
    super("sluice:components:ProcessPool", name, {}, options);
    const { edge, name: poolName = name, ...spec } = args;
    const pool = new Pool(
      `${name}-pool`,
      { ...spec, agent: edge.agent, edge: edge.edgeName, name: poolName },
      { parent: this },
    );
    this.backend = pool.name;
    this.live = pool.live;
    this.registerOutputs({ backend: this.backend, live: this.live });
  }
}
