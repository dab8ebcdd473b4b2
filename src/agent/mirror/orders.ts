import type { MirrorFigures } from "../../model/route/mirror";
import type { SampledRequest } from "./reservoir";
import type { ShadowSettings } from "./shadow";

/** Orders for the mirror's process about a route. */
export interface RouteOrders {
  mirror?: ShadowSettings;
  sample?: { requests: number };
}

/** A message of the agent to the mirror's process. */
export type Order =
  | { do: "listen"; path: string; group: number | undefined }
  | { do: "configure"; routes: Record<string, RouteOrders> }
  | { do: "tell"; id: number; what: "figures" }
  | { do: "tell"; id: number; what: "sample"; route: string };

/** A message of the mirror's process to the agent. */
export type Report =
  | { kind: "listening" }
  | { kind: "counted"; counts: ShadowCount[] }
  | { kind: "failed"; message: string }
  | { kind: "answer"; id: number; answer: ProcessFigures | readonly SampledRequest[] };

/** Counts of a shadow's answers since the last report, for the meter. */
export interface ShadowCount {
  edge: string;
  route: string;
  /** As {@link encodeCell} writes it. */
  cell: Uint8Array;
}

export interface ProcessFigures {
  /** Connections of HAProxy's workers, one for each thread. */
  connections: number;
  routes: Record<string, MirrorFigures>;
}
