import type { AnyResource } from "../server";
import { agentResource } from "./agent";
import { backendResource } from "./backend";
import { edgeResource } from "./edge";
import { migrationsResource } from "./migrations";
import { poolResource } from "./pool";
import { routeResource } from "./route";

/** Every resource type of the provider. */
export const resources: readonly AnyResource[] = [
  agentResource,
  edgeResource,
  migrationsResource,
  backendResource,
  poolResource,
  routeResource,
];
