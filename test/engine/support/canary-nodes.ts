import { mkdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import type { TestContext } from "node:test";
import { AgentClient } from "../../../src/agent/client/client";
import { endEverything, temporaryFolder } from "../../support/agent";
import { freePorts } from "../../support/ports";
import { REPOSITORY, Workspace } from "./engine";

export const APP = path.join(REPOSITORY, "test", "fixtures", "canary", "app.mjs");
/** Nodes of the release, each with an agent of its own. */
const NODES = ["one", "two", "three"] as const;

const PROGRAM = `
import { readFileSync } from "node:fs";
import { CanaryRelease, HaproxyEdge, LocalHost } from "${REPOSITORY}/components";

const { hosts, edgePorts, nodes, args } = JSON.parse(readFileSync(__dirname + "/declared.json", "utf8"));
const host: Record<string, LocalHost> = {};
for (const [name, directory] of Object.entries<string>(hosts))
  host[name] = new LocalHost(name, { directory, socket: directory + "/a.sock" });
const edges = edgePorts.map((port: number, index: number) => new HaproxyEdge("edge-" + index, {
  host: host["edges-" + index],
  name: "main",
  frontends: { http: { binds: [{ port }], defaultBackend: "web" } },
  meter: true,
}));
const at = Object.fromEntries(Object.entries<number>(nodes).map(([name, port]) => [name, { host: host["nodes-" + name], port }]));
new CanaryRelease("web", { edges, nodes: at, ...args });
`;

export interface NodesStack {
  stack: Workspace;
  edgePorts: number[];
  clients: Record<string, AgentClient>;
  /** Writes a release of the app, to be sent as an artifact. */
  build(id: string, behaviour?: object): Promise<string>;
  declare(id: string, args?: object): Promise<void>;
  /** The app's process, which is not healthy on one node until that is mended. */
  breaking(node: (typeof NODES)[number]): Promise<object>;
  repair(): Promise<void>;
  /** One release on all nodes. */
  all(id: string): Record<string, string>;
  /** Releases by node that are committed. */
  releases(): Promise<Record<string, string | undefined>>;
}

/** A stack with a `CanaryRelease` on two edges and three nodes, of five agents. */
export async function startNodes(t: TestContext): Promise<NodesStack> {
  const folder = await temporaryFolder(t);
  const names = ["edges-0", "edges-1", ...NODES.map((node) => `nodes-${node}`)];
  const hosts = Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await temporaryFolder(t)] as const)),
  );
  const stack = await Workspace.create({
    program: PROGRAM,
    providers: { sluice: path.join(REPOSITORY, "src", "provider") },
  });
  const clients = Object.fromEntries(
    names.map((name) => [name, new AgentClient(path.join(hosts[name] ?? "", "a.sock"))]),
  );
  t.after(async () => {
    for (const client of Object.values(clients)) client.close();
    await Promise.all(Object.values(hosts).map(endEverything));
    await stack.close();
  });
  const port = await freePorts(2 + NODES.length);
  const edgePorts = [port, port + 1];
  const nodes = Object.fromEntries(NODES.map((node, index) => [node, port + 2 + index]));
  const build = async (id: string, behaviour: object = {}) => {
    const release = path.join(folder, id);
    await mkdir(release, { recursive: true });
    await writeFile(path.join(release, "release.json"), JSON.stringify({ id, ...behaviour }));
    return release;
  };
  return {
    stack,
    edgePorts,
    clients,
    build,
    async declare(id, args = {}) {
      const web = {
        policy: "proxied",
        command: [process.execPath, APP, "{{port}}"],
        gracefulStop: "2 seconds",
        health: { path: "/healthz", interval: "50 milliseconds", deadline: "20 seconds" },
      };
      const settings = {
        release: { id },
        artifact: path.join(folder, id),
        processes: { web },
        drainDeadline: "5 seconds",
        check: { path: "/healthz", interval: "500 milliseconds" },
        window: "6 seconds",
        interval: "500 milliseconds",
        minRequests: 20,
        ...args,
      };
      await stack.write("declared.json", JSON.stringify({ hosts, edgePorts, nodes, args: settings }));
    },
    async breaking(node) {
      await writeFile(path.join(folder, `${nodes[node]}.broken`), "");
      return {
        policy: "proxied",
        command: [process.execPath, APP, "{{port}}"],
        env: { BROKEN: folder },
        health: { path: "/healthz", interval: "50 milliseconds", deadline: "3 seconds" },
      };
    },
    async repair() {
      for (const node of NODES) await rm(path.join(folder, `${nodes[node]}.broken`), { force: true });
    },
    all: (id) => Object.fromEntries(NODES.map((node) => [node, id])),
    async releases() {
      const pools = NODES.map(async (node) => [
        node,
        (await clients[`nodes-${node}`]?.pool(`web-${node}`))?.live.release,
      ]);
      return Object.fromEntries(await Promise.all(pools));
    },
  };
}
