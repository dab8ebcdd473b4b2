import assert from "node:assert/strict";
import { readFile, stat } from "node:fs/promises";
import path from "node:path";
import type { TestContext } from "node:test";
import type { Requests } from "../../support/requests";
import { sendRequests } from "../../support/requests";
import { until } from "../../support/until";
import type { Outcome } from "./engine";
import { HostedStack } from "./hosted";

/** The kinds of resources of a site, from what others need to what needs others. */
export const KINDS = ["host", "edge", "backend", "pool", "node", "route"] as const;
export type Kind = (typeof KINDS)[number];

/** Logical names; on the host each thing keeps its own. */
const NAMES: Record<Kind, string> = {
  host: "local",
  edge: "main",
  backend: "api",
  pool: "web",
  node: "node",
  route: "half",
};

/** How the program names and places each kind: `$alias`, `$parent`, `$fromRoot`, see `Declared`. */
export type Placing = Partial<Record<Kind, { name?: string; [option: `$${string}`]: unknown }>>;

/** Commands that are not about updates. */
const QUIETLY = ["--non-interactive", "--color", "never"];

/**
 * One of everything on one host, under requests: an edge that serves a pool side by side, a backend whose server is a pool in place,
 * and a route that leads half of the requests there.
 */
export class Site {
  readonly names = NAMES;

  private load: Requests | undefined;

  private constructor(readonly hosted: HostedStack) {}

  static async start(t: TestContext): Promise<Site> {
    const hosted = await HostedStack.create(t);
    const site = new Site(hosted);
    await site.declare();
    succeeded(await hosted.stack.up());
    const load = sendRequests(t, [hosted.port]);
    t.after(() => load.stop());
    site.load = load;
    const both = () => ["v1 200", "v2 200"].every((key) => key in load.seen().answers);
    await until("requests to reach both sides", both);
    return site;
  }

  /** Requests that were not answered by an app, since the site is up. */
  get failures(): string[] {
    return this.load?.seen().failures ?? [];
  }

  /** Until the route is there, all requests go to the pool in place, as those that look whether it answers. */
  async declare(placing: Placing = {}, { beside, on = this.hosted }: { beside?: object; on?: HostedStack } = {}) {
    const { hosted } = this;
    const named = <T extends object>(kind: Kind, args: T): Record<string, T> => {
      const { name = NAMES[kind], ...options } = placing[kind] ?? {};
      return { [name]: { name: NAMES[kind], ...args, ...options } };
    };
    const edge = placing.edge?.name ?? NAMES.edge;
    const [port, nodePort] = [hosted.port, hosted.port + 12];
    const { name: hostName = NAMES.host, ...hostOptions } = placing.host ?? {};
    const agent = { directory: hosted.host, socket: hosted.socket };
    await on.declare({
      host: { ...agent, $name: hostName, ...hostOptions },
      edges: named("edge", { frontends: { http: { binds: [{ port }], defaultBackend: "api" } } }),
      backends: named("backend", { edge, servers: { node: { address: "127.0.0.1", port: nodePort } } }),
      pools: { ...named("pool", hosted.pool("v1", { edge })), ...(beside !== undefined && { beside }) },
      inPlace: named("node", {
        release: hosted.release("v2"),
        ports: { from: nodePort, to: nodePort },
        processes: { web: hosted.web() },
        drainDeadline: "5 seconds",
        serves: { backend: "api", server: "node", edges: [{ agent, edge: "main" }] },
      }),
      routes: named("route", {
        edges: [edge],
        stable: "web",
        candidate: "api",
        stages: [{ split: "50%", window: "1 second" }],
        stage: "50%",
      }),
    });
  }

  /** Everything that a move must leave as it is: processes, HAProxy and its file, the agent, splits. */
  async facts() {
    const { client, host } = this.hosted;
    const { agent, pools, edges, routes } = await client.status();
    const config = path.join(host, "edges", "main", "haproxy.cfg");
    const pids = Object.entries(pools).map(([name, pool]) => {
      assert.ok("processes" in pool);
      return [name, pool.processes.map(({ key, pid, state }) => ({ key, pid, state }))] as const;
    });
    const { main } = edges;
    assert.ok(main !== undefined && "observed" in main);
    const { half } = routes;
    assert.ok(half !== undefined && "splits" in half);
    return {
      agent: agent.pid,
      pids: Object.fromEntries(pids),
      worker: main.observed.worker?.pid,
      config: { text: await readFile(config, "utf8"), at: (await stat(config)).mtimeMs },
      splits: half.splits,
    };
  }

  /** The URN of each of the site's resources in the state, by kind. */
  async urns(): Promise<Record<Kind, string>> {
    const { resources } = await this.hosted.stack.state();
    const only = (type: string, id?: string) => {
      const found = resources.filter((each) => each.type === `sluice:index:${type}` && (id ?? each.id) === each.id);
      assert.equal(found.length, 1, JSON.stringify(found.map(({ urn }) => urn)));
      return found[0]?.urn ?? "";
    };
    return {
      host: only("Agent"),
      edge: only("Edge"),
      backend: only("Backend"),
      pool: only("Pool", "web"),
      node: only("Pool", "node"),
      route: only("Route"),
    };
  }

  /** The URN that the agent knows as the owner of each, by kind. */
  async owners(): Promise<Record<Kind, string | undefined>> {
    const { client } = this.hosted;
    const { declarers } = await client.about();
    return {
      host: Object.values(declarers).join(" "),
      edge: (await client.edge("main"))?.owner?.urn,
      backend: (await client.backend("main", "api"))?.owner?.urn,
      pool: (await client.pool("web"))?.owner?.urn,
      node: (await client.pool("node"))?.owner?.urn,
      route: (await client.route("half"))?.owner?.urn,
    };
  }

  /** Runs a command of the stack which must succeed. */
  async run(...args: string[]): Promise<Outcome> {
    return succeeded(await this.hosted.stack.run(...args, ...QUIETLY));
  }

  /** Nothing was restarted, reloaded or lost, the state is at peace with the program, and the agent knows the present URNs. */
  async assertUnmoved(before: Awaited<ReturnType<Site["facts"]>>): Promise<void> {
    assert.deepEqual(await this.facts(), before);
    assert.deepEqual(this.failures, []);
    const preview = succeeded(await this.hosted.stack.preview());
    assert.match(preview.stdout, /Resources:\n +\d+ unchanged\n/, preview.stdout);
    assert.deepEqual(await this.owners(), await this.urns());
  }
}

export function succeeded(outcome: Outcome): Outcome {
  assert.equal(outcome.exit, 0, outcome.stdout + outcome.stderr);
  return outcome;
}

/** Everything that a command said. */
export function outputOf({ stdout, stderr }: Outcome): string {
  return stdout + stderr;
}
