import { join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { CanaryRelease, type Duration, HaproxyEdge, LocalHost } from "../../components";

const config = new pulumi.Config();
const release = config.require("release");
const port = config.requireNumber("port");
/** Folder of the agents' state folders; where it is not set, they are below the project's `.sluice/hosts`. */
const folder = config.get("directory");
const localHost = (name: string) => new LocalHost(name, { directory: folder && join(folder, name) });

// Five hosts, each with an agent of its own; here all of them are this machine, by five state folders and sockets.
const edges = ["edge-1", "edge-2"].map(
  (name, index) =>
    new HaproxyEdge(name, {
      host: localHost(name),
      frontends: { http: { binds: [{ port: port + index }], defaultBackend: "web" } },
      // The canary is judged by what the edges measure.
      meter: true,
    }),
) as [HaproxyEdge, HaproxyEdge];
const nodes = Object.fromEntries(
  ["node-1", "node-2", "node-3"].map((name, index) => [name, { host: localHost(name), port: port + 10 + index }]),
);

// Another release here goes to node-1 first, is watched there, and then goes to node-2 and node-3.
const web = new CanaryRelease("web", {
  edges,
  nodes,
  canary: "node-1",
  release: { id: release },
  // Sent to every node, and placed there under its digest.
  artifact: join(__dirname, "releases", release),
  processes: {
    web: {
      policy: "proxied",
      command: ["node", join(__dirname, "app.mjs"), "{{port}}"],
      health: { path: "/healthz", deadline: "1 minute" },
    },
  },
  drainDeadline: "30 seconds",
  pendingMigrations: ["true"],
  // An hour and 200 requests where nothing is said; here a demonstration should not take that long.
  window: config.get<Duration>("window") ?? "20 seconds",
  interval: "2 seconds",
  minRequests: 50,
});

export const addresses = edges.map(({ address }) => address);
export const live = web.live;
