import * as pulumi from "@pulumi/pulumi";
import type { GateInput } from "../src/model/gate/gate";
import type { PoolLive } from "../src/model/protocol/live";
import type { Duration } from "../src/model/types/duration";
import { Backend, type BackendArgs } from "../src/provider/classes/backend";
import { Pool, type PoolArgs } from "../src/provider/classes/pool";
import type { HaproxyEdge } from "./haproxy-edge";
import type { LocalHost } from "./local-host";

/** Time for which the canary node is watched. */
const DEFAULT_WINDOW: Duration = "1 hour";
/** Time between two probes of the canary node. */
const DEFAULT_INTERVAL: Duration = "30 seconds";
/** Conditions on the canary node's answers. */
const DEFAULT_THRESHOLDS: readonly string[] = ["p95 < 500 ms", "5xx < 0.5 %"];

export interface CanaryNode {
  /** Host that runs the node. Change: refused while it serves. */
  host: LocalHost;
  /** Address at which the edges reach it. @default "127.0.0.1". Change: the server is drained and added anew, live. */
  address?: pulumi.Input<string> | undefined;
  /** Port that it listens on, always the same. Change: the server is drained and added anew, and the process restarted. */
  port: number;
}

type Settings = Pick<
  PoolArgs,
  "processes" | "drainDeadline" | "retain" | "longestRequest" | "removedSettings" | "slo" | "migrations"
>;

export interface CanaryReleaseArgs extends Settings {
  /** The release that all nodes shall run. Change: one node after the other, the canary first. */
  release: PoolArgs["release"];
  /** A folder or .tar.gz, absolute, that is placed on every node. @default none: `release.path` is on the nodes already */
  artifact?: PoolArgs["artifact"];
  /** Edges that lead requests to the nodes. Change: live. */
  edges: [HaproxyEdge, ...HaproxyEdge[]];
  /** Name of the backend on each edge, for frontends and routes. @default the component's name. Change: refused while it serves. */
  backend?: string | undefined;
  /** How an edge chooses a node. @default "roundrobin". Change: hitless reload. */
  balance?: BackendArgs["balance"];
  /** The edges' own checks of the nodes. @default the proxied process's health path, every 2 seconds. Change: hitless reload. */
  check?: BackendArgs["health"];
  /** All nodes by name, which is also their server's name in the backend; peers follow in this order. */
  nodes: Record<string, CanaryNode>;
  /** Name of the node that gets a release first. @default the first one */
  canary?: string | undefined;
  /** A command that exits with 0 where no migration is pending; it runs before anything is touched. @default none */
  pendingMigrations?: string[] | undefined;
  /** Time for which the canary is watched before the peers follow, such as "30 minutes". @default "1 hour" */
  window?: Duration | undefined;
  /** Time between two probes of the canary. @default "30 seconds" */
  interval?: Duration | undefined;
  /** Conditions on the canary's answers through the window. @default p95 < 500 ms and 5xx < 0.5 % */
  thresholds?: string[] | undefined;
  /** Requests of the canary below which there is no verdict: a window that ends with fewer is a breach. @default 200 */
  minRequests?: number | undefined;
  /** Further gates that the canary is watched by. @default none */
  gates?: GateInput[] | undefined;
  /** A request that the edges lead to the backend. @default a GET of the backend's health path */
  probe?: { path?: string | undefined; host?: string | undefined } | undefined;
}

/**
 * A release that goes node by node, each in its place: the canary node first, watched in the traffic through a window, then each
 * peer. A canary that does not hold is put back and no peer is touched; a peer that fails puts itself back, and the
 * next update goes on with it.
 */
export class CanaryRelease extends pulumi.ComponentResource {
  /** Name of the backend on the edges, once all nodes are there. */
  readonly backend: pulumi.Output<string>;
  /** Reality by node, as it was last observed. */
  readonly live: pulumi.Output<Record<string, PoolLive>>;

  constructor(name: string, args: CanaryReleaseArgs, options?: pulumi.ComponentResourceOptions) {
    super("sluice:components:CanaryRelease", name, {}, options);
    const { backend = name } = args;
    const order = inOrder(name, args);
    const backends = args.edges.map((edge, index) => this.leads(`${name}-edge-${index}`, backend, edge, args));
    const pools: Record<string, Pool> = {};
    let before: pulumi.Resource[] = backends;
    for (const node of order) {
      const pool = this.runs(node, { name, backend, first: node === order[0], dependsOn: before }, args);
      pools[node] = pool;
      // One after the other: an edge must never be without more than one of them.
      before = [pool];
    }
    this.backend = pulumi.all(Object.values(pools).map((pool) => pool.name)).apply(() => backend);
    this.live = pulumi.output(Object.fromEntries(Object.entries(pools).map(([node, { live }]) => [node, live])));
    this.registerOutputs({ backend: this.backend, live: this.live });
  }

  /** The backend of one edge, with a server per node. */
  private leads(name: string, backend: string, edge: HaproxyEdge, args: CanaryReleaseArgs): Backend {
    const servers = Object.entries(args.nodes).map(([node, { address = "127.0.0.1", port }]) => [
      node,
      { address, port },
    ]);
    const health = pulumi.output(args.processes).apply((processes) => {
      const path = Object.values(processes).find(({ policy }) => policy === "proxied")?.health?.path;
      return path === undefined ? undefined : { path };
    });
    return new Backend(
      name,
      {
        agent: edge.agent,
        edge: edge.edgeName,
        name: backend,
        servers: Object.fromEntries(servers),
        balance: args.balance,
        health: args.check ?? (health as BackendArgs["health"]),
        drainDeadline: args.drainDeadline,
        longestRequest: args.longestRequest,
      },
      { parent: this },
    );
  }

  /** One node: the release in its place, watched where it is the canary. */
  private runs(
    node: string,
    {
      name,
      backend,
      first,
      dependsOn,
    }: { name: string; backend: string; first: boolean; dependsOn: pulumi.Resource[] },
    args: CanaryReleaseArgs,
  ): Pool {
    const { release, artifact, processes, drainDeadline, retain, edges, nodes, probe } = args;
    const { longestRequest, removedSettings, slo, migrations } = args;
    const { host, port } = nodes[node] as CanaryNode;
    return new Pool(
      `${name}-${node}`,
      {
        strategy: "in-place",
        agent: host.agent,
        name: `${backend}-${node}`,
        release,
        artifact,
        processes,
        drainDeadline,
        retain,
        longestRequest,
        removedSettings,
        slo,
        migrations,
        ports: { from: port, to: port },
        serves: {
          backend,
          server: node,
          edges: edges.map(({ agent, edgeName }) => ({ agent, edge: edgeName })),
          ...(probe === undefined ? {} : { probe }),
        },
        ...(first ? { watch: watchOf(args) } : {}),
      },
      { parent: this, dependsOn },
    );
  }
}

/** The canary first, the others as they are declared. */
function inOrder(name: string, { nodes, canary }: Pick<CanaryReleaseArgs, "nodes" | "canary">): string[] {
  const all = Object.keys(nodes);
  if (all.length < 2)
    throw new pulumi.RunError(
      `canary release ${name} has ${all.length} node${all.length === 1 ? "" : "s"}: it needs two, since one is out of the traffic while it is replaced; use a ProcessPool for one host`,
    );
  const first = canary ?? all[0] ?? "";
  if (!all.includes(first))
    throw new pulumi.RunError(
      `canary ${first} of canary release ${name} is not one of its nodes: use one of ${all.join(", ")}`,
    );
  return [first, ...all.filter((node) => node !== first)];
}

function watchOf({
  window = DEFAULT_WINDOW,
  interval = DEFAULT_INTERVAL,
  thresholds = [...DEFAULT_THRESHOLDS],
  minRequests,
  gates = [],
  pendingMigrations,
}: CanaryReleaseArgs) {
  const sli: GateInput = {
    kind: "sli",
    name: "canary",
    interval,
    thresholds,
    ...(minRequests === undefined ? {} : { minRequests }),
  };
  const before: GateInput[] =
    pendingMigrations === undefined
      ? []
      : [{ kind: "command", name: "pending migrations", command: pendingMigrations, unavailableLimit: 1 }];
  return { before, window, gates: [sli, ...gates] };
}
