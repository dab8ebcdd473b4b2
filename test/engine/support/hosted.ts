import { readFile } from "node:fs/promises";
import { get } from "node:http";
import path from "node:path";
import type { TestContext } from "node:test";
import { AgentClient } from "../../../src/agent/client/client";
import { endEverything, temporaryFolder } from "../../support/agent";
import { freePorts } from "../../support/ports";
import { REPOSITORY, Workspace, type WorkspaceOptions } from "./engine";

const APP = path.join(REPOSITORY, "test", "fixtures", "engine", "app.mjs");
/** Ports that a test's stack has: the first for its edge, then ten for its pool, the others as it likes. */
const PORTS = 24;

/**
 * Declarations of a test, by logical name. `{"$secret": x}` in a value's place makes it a secret, `{"$later": x}` an
 * output that a preview does not know, `{"$made": x}` one of another resource (a toy, whose provider the test gives),
 * which a preview does not know where any of these values changed. Of everything, `$alias` is the name that it had,
 * `$parent` the component that it is in, and `$fromRoot` that it was in none before. The host's logical name is
 * `$name`.
 */
export interface Declared {
  /** Of the agent's `LocalHost`. */
  host?: object;
  edges?: Record<string, object>;
  /** Raw backends, with `edge` by logical name. */
  backends?: Record<string, object>;
  /** With `edge` by logical name, and `$name` where the component's name is another one. */
  pools?: Record<string, object>;
  /** Raw pools that are replaced in place, on the host. */
  inPlace?: Record<string, object>;
  /** With `edges` by logical name. */
  routes?: Record<string, { edges: string[] } & Record<string, unknown>>;
  /** Likewise. */
  cutovers?: Record<string, { edges: string[] } & Record<string, unknown>>;
  /** With `pools` by name; pools name theirs by `migrations`. */
  migrations?: Record<string, { pools: string[] } & Record<string, unknown>>;
}

const PROGRAM = `
import { readFileSync } from "node:fs";
import * as pulumi from "@pulumi/pulumi";
import { Cutover, HaproxyEdge, LocalHost, Migrations, ProcessPool, Route } from "${REPOSITORY}/components";
import { Backend } from "${REPOSITORY}/src/provider/classes/backend";
import { Pool } from "${REPOSITORY}/src/provider/classes/pool";
const { unknown } = require("@pulumi/pulumi/output");

const given = (value: any): any => {
  if (Array.isArray(value)) return value.map(given);
  if (value === null || typeof value !== "object") return value;
  if ("$secret" in value) return pulumi.secret(given(value.$secret));
  if ("$made" in value) return toy.made.apply((made: any) => made[JSON.stringify(value.$made)]);
  if ("$later" in value) return pulumi.output(pulumi.runtime.isDryRun() ? unknown : value.$later);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, given(inner)]));
};
const makes: Record<string, any> = {};
const declared = JSON.parse(readFileSync(__dirname + "/declared.json", "utf8"), (_, value) => {
  if (value?.$made !== undefined) makes[JSON.stringify(value.$made)] = value.$made;
  return value;
});
const toyArgs = { file: __dirname + "/toy.json", weight: 1, servers: [], makes };
const toy: any = Object.keys(makes).length === 0 ? undefined : new pulumi.CustomResource("toy:index:Toy", "toy", { ...toyArgs, made: undefined });
const { host: hostArgs, edges = {}, backends = {}, pools = {}, inPlace = {}, routes = {}, cutovers = {}, migrations = {} } = declared;
const groups: Record<string, pulumi.ComponentResource> = {};
const taken = ({ $alias, $parent, $fromRoot, ...args }: any) => ({
  args: given(args),
  options: {
    ...($parent && { parent: (groups[$parent] ??= new pulumi.ComponentResource("test:index:Group", $parent)) }),
    aliases: [...($alias ? [{ name: $alias }] : []), ...($fromRoot ? [{ parent: pulumi.rootStackResource }] : [])],
  },
});
if (hostArgs) {
  const { $name = "local", ...hosting } = hostArgs;
  const { args: atHost, options: ofHost } = taken(hosting);
  const host = new LocalHost($name, atHost, ofHost);
  const byName: Record<string, HaproxyEdge> = {};
  for (const [name, declared] of Object.entries<any>(edges)) {
    const { args, options } = taken(declared);
    byName[name] = new HaproxyEdge(name, { host, ...args }, options);
  }
  const made: pulumi.Resource[] = [];
  const databases: Record<string, Migrations> = {};
  for (const [name, { pools, ...args }] of Object.entries<any>(migrations))
    databases[name] = new Migrations(name, { pools: pools.map((pool: string) => ({ host, pool })), ...given(args) });
  for (const [name, { edge, ...declared }] of Object.entries<any>(backends)) {
    const { args, options } = taken(declared);
    made.push(new Backend(name, { name, edge: byName[edge].edgeName, agent: byName[edge].agent, ...args }, options));
  }
  for (const [name, { edge, migrations, ...declared }] of Object.entries<any>(pools)) {
    const { args, options } = taken(declared);
    made.push(new ProcessPool(name, { edge: byName[edge], migrations: databases[migrations]?.connection, ...args }, options));
  }
  for (const [name, declared] of Object.entries<any>(inPlace)) {
    const { args, options } = taken(declared);
    made.push(new Pool(name, { strategy: "in-place", agent: host.agent, name, ...args }, { ...options, dependsOn: made.slice() }));
  }
  for (const [name, { edges, ...declared }] of Object.entries<any>(routes)) {
    const { args, options } = taken(declared);
    new Route(name, { edges: edges.map((edge: string) => byName[edge]), ...args }, { ...options, dependsOn: made });
  }
  for (const [name, { edges, ...args }] of Object.entries<any>(cutovers))
    new Cutover(name, { edges: edges.map((edge: string) => byName[edge]), ...given(args) }, { dependsOn: made });
}
`;

/** A stack on a host of its own: an agent in a temporary folder, free ports, releases and a small app. */
export class HostedStack {
  readonly client: AgentClient;

  private constructor(
    readonly stack: Workspace,
    /** State folder of the agent. */
    readonly host: string,
    /** The edge's; the others follow it. */
    readonly port: number,
  ) {
    this.client = new AgentClient(this.socket);
  }

  static async create(
    t: TestContext,
    { providers = {}, ...options }: Pick<WorkspaceOptions, "stack" | "config" | "env" | "providers"> = {},
  ): Promise<HostedStack> {
    const host = await temporaryFolder(t);
    const stack = await Workspace.create({
      ...options,
      program: PROGRAM,
      providers: { sluice: path.join(REPOSITORY, "src", "provider"), ...providers },
      files: Object.fromEntries(["v1", "v2", "bad"].map((id) => [`releases/${id}/file`, id])),
    });
    const hosted = new HostedStack(stack, host, await freePorts(PORTS));
    t.after(async () => {
      hosted.client.close();
      await endEverything(host);
      await stack.close();
    });
    return hosted;
  }

  get socket(): string {
    return path.join(this.host, "a.sock");
  }

  /** Another stack on the same host. */
  async neighbour(t: TestContext): Promise<HostedStack> {
    const stack = await Workspace.create({
      stack: "other",
      program: PROGRAM,
      providers: { sluice: path.join(REPOSITORY, "src", "provider") },
    });
    const neighbour = new HostedStack(stack, this.host, this.port);
    t.after(async () => {
      neighbour.client.close();
      await stack.close();
    });
    return neighbour;
  }

  /** Writes what the program declares next; the host is there unless it is told otherwise. */
  async declare(declared: Declared): Promise<void> {
    const host = { directory: this.host, socket: this.socket };
    await this.stack.write("declared.json", JSON.stringify({ host, ...declared }));
  }

  edge(changes: object = {}): object {
    return { frontends: { http: { binds: [{ port: this.port }], defaultBackend: "web" } }, ...changes };
  }

  release(id: string) {
    return { id, path: path.join(this.stack.folder, "releases", id) };
  }

  /** A pool of the small app, with one replica. */
  pool(id: string, changes: object = {}, web: object = {}): object {
    return {
      edge: "main",
      release: this.release(id),
      ports: { from: this.port + 1, to: this.port + 10 },
      drainDeadline: "5 seconds",
      processes: { web: this.web(web) },
      ...changes,
    };
  }

  web(changes: object = {}): object {
    return {
      policy: "proxied",
      command: ["node", APP, "{{port}}", "{{release.id}}"],
      health: { path: "/healthz", interval: "50 milliseconds", deadline: "10 seconds" },
      ...changes,
    };
  }

  /** Asks through the edge: status, release, the answering process, and the text. */
  async ask(url = "/", port = this.port): Promise<{ status: number; release: string; pid: number; text: string }> {
    return new Promise((resolve, reject) => {
      get({ host: "127.0.0.1", port, path: url, agent: false }, async (response) => {
        const chunks: Buffer[] = [];
        for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
        const { "x-release": release, "x-pid": pid } = response.headers;
        const text = Buffer.concat(chunks).toString("utf8");
        resolve({ status: response.statusCode ?? 0, release: `${release}`, pid: Number(pid), text });
      }).on("error", reject);
    });
  }

  /** A command of HAProxy's runtime API, by hand. */
  async haproxy(command: string, edge = "main"): Promise<string> {
    const { createConnection } = await import("node:net");
    const socket = createConnection(path.join(this.host, "edges", edge, "worker.sock"));
    const chunks: Buffer[] = [];
    socket.end(`${command}\n`);
    for await (const chunk of socket as AsyncIterable<Buffer>) chunks.push(chunk);
    return Buffer.concat(chunks).toString("utf8");
  }

  /** Resources of a type in the stack's state file. */
  async recorded(type: string) {
    const { resources } = await this.stack.state();
    return resources.filter((resource) => resource.type === `sluice:index:${type}`);
  }

  /** Everything that the agent has written on the host and that others may read, as one text. */
  async onDisk(): Promise<string> {
    const files = [
      "state.json",
      "state.copy.json",
      "journal.ndjson",
      "events.ndjson",
      "agent.log",
      "edges/main/haproxy.cfg",
    ];
    return (await Promise.all(files.map((file) => readFile(path.join(this.host, file), "utf8")))).join("\n");
  }
}
