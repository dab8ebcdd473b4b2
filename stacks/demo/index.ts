import { join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { HaproxyEdge, LocalHost, ProcessPool } from "../../components";

const config = new pulumi.Config();
const release = config.require("release");
const port = config.requireNumber("port");
const app = join(__dirname, "app");

const host = new LocalHost("local");

const edge = new HaproxyEdge("main", {
  host,
  frontends: { http: { binds: [{ port }], defaultBackend: "web" } },
});

const web = new ProcessPool("web", {
  edge,
  release: { id: release, path: join(__dirname, "releases", release) },
  ports: { from: port + 1, to: port + 20 },
  drainDeadline: "30 seconds",
  processes: {
    cache: { policy: "service", command: ["node", join(app, "cache.mjs"), "--port", "{{port}}"], port: port + 21 },
    feeder: { policy: "companion", command: ["node", join(app, "worker.mjs")] },
    web: {
      policy: "proxied",
      command: ["node", join(app, "server.mjs"), "--port", "{{port}}"],
      replicas: 2,
      health: { path: "/healthz", deadline: "5 seconds" },
    },
    scheduler: { policy: "singleton", command: ["node", join(app, "worker.mjs")] },
  },
});

export const address = edge.address;
export const live = web.live;
