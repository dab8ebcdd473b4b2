import { resolve } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { Cutover, type Duration, ExternalBackend, HaproxyEdge, LocalHost } from "../../components";

const config = new pulumi.Config();
/** Of each stage, where it is set. */
const window = config.get<Duration>("window");
/** `127.0.0.1:8001` as a backend's server. */
const server = (key: string) => {
  const [address = "", port] = config.require(key).split(":");
  return { address, port: Number(port) };
};

const host = new LocalHost("local", { directory: config.get("directory") });

const edge = new HaproxyEdge("main", {
  host,
  frontends: { http: { binds: [{ port: config.requireNumber("port") }], defaultBackend: "old" } },
  // The gates judge by the meter.
  meter: true,
});

// Two systems that something else runs.
const [old, fresh] = ["old", "fresh"].map(
  (name) => new ExternalBackend(name, { edge, servers: { one: server(name) }, health: { path: "/ready" } }),
) as [ExternalBackend, ExternalBackend];

const cutover = new Cutover("catalogue", {
  edges: [edge],
  from: old.backend,
  to: fresh.backend,
  // The one key of the whole way.
  stage: config.get("stage") ?? "stable",
  parity: {
    requests: resolve(__dirname, config.require("requests")),
    upstreamUrl: `http://${config.require("old")}`,
    candidateUrl: `http://${config.require("fresh")}`,
  },
  slo: { p99: config.get<Duration>("p99") ?? "300 milliseconds" },
  minRequests: config.getNumber("minRequests"),
  refresh: { http: `http://${config.require("fresh")}/refreshed` },
  window: {
    shadow: window ?? "10 minutes",
    "1%": window ?? "10 minutes",
    "10%": window ?? "10 minutes",
    "50%": window ?? "30 minutes",
    "100%": window ?? "1 hour",
  },
});

export const address = edge.address;
export const live = cutover.live;
