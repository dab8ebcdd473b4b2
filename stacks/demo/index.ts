import { join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { HaproxyEdge, LocalHost, ProcessPool } from "../../components";

const config = new pulumi.Config();
const release = config.require("release");
const port = config.requireNumber("port");
const app = join(__dirname, "app");

// A daemon on this machine that runs HAProxy and the processes, and outlives `pulumi up`.
const host = new LocalHost("local", { directory: config.get("directory") });

// A HAProxy. The pool below brings its backend "web".
const edge = new HaproxyEdge("main", {
  host,
  frontends: { http: { binds: [{ port }], defaultBackend: "web" } },
});

// Another release here is a promotion, or a rollback.
const web = new ProcessPool("web", {
  edge,
  release: { id: release, path: join(__dirname, "releases", release) },
  ports: { from: port + 1, to: port + 20 },
  drainDeadline: "30 seconds",
  processes: {
    // Shared by all releases: it runs on while they come and go.
    cache: { policy: "service", command: ["node", join(app, "cache.mjs"), "--port", "{{port}}"], port: port + 21 },
    // One per release, started before the web server.
    feeder: { policy: "companion", command: ["node", join(app, "worker.mjs")] },
    // Takes the edge's traffic once it is healthy.
    web: {
      policy: "proxied",
      command: ["node", join(app, "server.mjs"), "--port", "{{port}}"],
      replicas: 2,
      health: { path: "/healthz", deadline: "5 seconds" },
    },
    // Never two at a time: the old one stops before the new one starts.
    scheduler: { policy: "singleton", command: ["node", join(app, "worker.mjs")] },
  },
});

export const address = edge.address;
export const live = web.live;
