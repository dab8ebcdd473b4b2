import { join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { HaproxyEdge, LocalHost, ProcessPool } from "../../components";

const config = new pulumi.Config();
const release = config.require("release");
const port = config.requireNumber("port");
/** Keep the broker's journal outside of the releases, which come and go. */
const data = config.get("data") ?? join(__dirname, "..", "..", ".sluice", "webapp");

const host = new LocalHost("webapp", { directory: config.get("directory") });

const edge = new HaproxyEdge("main", {
  host,
  frontends: { http: { binds: [{ port }], defaultBackend: "web" } },
  // Longer than nginx in front waits, so that it is never the edge that cuts a response or a WebSocket.
  timeouts: { client: "75 seconds", server: "75 seconds", keepAlive: "75 seconds", tunnel: "2 hours" },
  // For that long, clients of an old release may keep their WebSockets when HAProxy has to reload.
  hardStopAfter: "10 minutes",
});

/** One program of the app; a real release would bring its own. */
const program = (name: string) => ["node", join(__dirname, "app", `${name}.mjs`)];
const quiet = ["/bin/sh", "-c", 'kill -USR2 "$SLUICE_PID"'];
const env = { BROKER_PORT: "{{ports.broker}}" };

const web = new ProcessPool("web", {
  edge,
  release: { id: release, path: join(__dirname, "releases", release) },
  ports: { from: port + 1, to: port + 20 },
  drainDeadline: "30 seconds",
  // Its GETs change nothing, so one that a crash cuts off is sent to the other replica.
  retry: "safe",
  processes: {
    // Before everything else, on a port that no release changes. Promotions leave it and its jobs alone.
    broker: {
      policy: "service",
      command: program("broker"),
      port: port + 21,
      env: { DATA: data },
      health: { path: "/healthz" },
    },
    // A release's own workers. Once it retires they take no more jobs, finish those that they have, and exit.
    worker: {
      policy: "companion",
      command: program("worker"),
      env,
      replicas: 2,
      health: { line: "ready" },
      memory: { limit: "512 MiB", warning: "400 MiB" },
      lifecycle: { quiet, drainTimeout: "2 minutes" },
      nonBlockingDrain: true,
      // SIGTERM finishes a job as well: for restarts, which ask for no patience of two minutes.
      gracefulStop: "15 seconds",
    },
    // Takes the edge's traffic once it is healthy.
    web: {
      policy: "proxied",
      command: program("web"),
      env,
      replicas: 2,
      health: { path: "/healthz", deadline: "10 seconds" },
      memory: { limit: "512 MiB" },
      // Asks the clients of WebSockets to connect again, to the new release.
      lifecycle: { quiet },
    },
    // At most one on this host, or jobs would be put in twice: the old one stops before the new one starts.
    coordinator: { policy: "singleton", command: program("coordinator"), env, health: { line: "ready" } },
  },
});

export const address = edge.address;
export const live = web.live;
