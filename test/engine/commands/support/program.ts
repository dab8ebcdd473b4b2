import { REPOSITORY } from "../../support/engine";

/**
 * One resource of every kind, plain ones as components make them: two agents, an edge, backends, pools side by side, with a
 * candidate and in place, and a route. What commands need changed comes by key from `declared.json`.
 */
export const PROGRAM = `
import { readFileSync } from "node:fs";
import * as pulumi from "@pulumi/pulumi";
import { Agent } from "${REPOSITORY}/src/provider/classes/agent";
import { Backend } from "${REPOSITORY}/src/provider/classes/backend";
import { Edge } from "${REPOSITORY}/src/provider/classes/edge";
import { Pool } from "${REPOSITORY}/src/provider/classes/pool";
import { Route } from "${REPOSITORY}/src/provider/classes/route";

const { hosts, servers, args, changes, inOrder } = JSON.parse(readFileSync(__dirname + "/declared.json", "utf8"));
class Group extends pulumi.ComponentResource {
  constructor(name: string) {
    super("test:index:Group", name, {});
    this.registerOutputs({});
  }
}
const of = (key: string) => changes[key] ?? {};
const made: pulumi.Resource[] = [];
const make = (Kind: any, key: string, given: object, dependsOn: pulumi.Resource[] = []): any => {
  const { name = key, group, args: changed, options, absent } = of(key);
  if (absent) return undefined;
  const parent = group === undefined ? undefined : new Group(group);
  const after = inOrder ? [...made] : dependsOn;
  const resource = new Kind(name, { ...given, ...args[key], ...changed }, { parent, dependsOn: after, ...options });
  made.push(resource);
  return resource;
};
const host = (key: string, directory: string) => {
  const at = { directory, socket: directory + "/a.sock" };
  return make(Agent, key, at)?.connection ?? at;
};
const agent = host("agent", hosts.agent);
const nodes = host("nodes-agent", hosts.nodes);
const edge = make(Edge, "edge", { agent, name: "main" })?.name ?? "main";
const backends = Object.entries<object>(servers).flatMap(
  ([name, backend]) => make(Backend, name, { agent, edge, name, ...backend }) ?? []);
for (const name of ["web", "tried"]) make(Pool, name, { agent, edge, name });
// One after the other, so that the backend is never without both.
let before = backends;
for (const name of ["node-a", "node-b"]) {
  const serves = { backend: "nodes", server: name, edges: [{ agent, edge }] };
  const node = make(Pool, name, { strategy: "in-place", agent: nodes, name, serves }, before);
  if (node !== undefined) before = [...before, node];
}
make(Route, "api", { agent, edges: [edge], name: "api" }, backends);
`;
