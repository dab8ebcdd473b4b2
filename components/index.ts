export type { Duration } from "../src/model/types/duration";
export { type CanaryNode, CanaryRelease, type CanaryReleaseArgs } from "./canary-release";
export { Cutover, type CutoverArgs } from "./cutover";
export { ExternalBackend, type ExternalBackendArgs } from "./external-backend";
export { HaproxyEdge, type HaproxyEdgeArgs } from "./haproxy-edge";
export { LocalHost, type LocalHostArgs } from "./local-host";
export { Migrations, type MigrationsArgs } from "./migrations";
export { ProcessPool, type ProcessPoolArgs } from "./process-pool";
export { Route, type RouteArgs } from "./route";
