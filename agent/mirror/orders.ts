import type { MirrorFigures } from "../../model/mirror";
import type { SampledRequest } from "./reservoir";
import type { ShadowSettings } from "./shadow";

/** What the mirror's process is to do for a route. */
export interface RouteOrders {
  mirror?: ShadowSettings;
  sample?: { requests: number };
}

/** What the agent tells the mirror's process. */
export type Order =
  | { do: "listen"; path: string; group: number | undefined }
  | { do: "configure"; routes: Record<string, RouteOrders> }
  | { do: "tell"; id: number; what: "figures" }
  | { do: "tell"; id: number; what: "sample"; route: string };

/** What the mirror's process tells the agent. */
export type Report =
  | { kind: "listening" }
  | { kind: "counted"; counts: ShadowCount[] }
  | { kind: "failed"; message: string }
  | { kind: "told"; id: number; answer: ProcessFigures | readonly SampledRequest[] };

/** What was counted of a shadow's answers since the last time, for the meter. */
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
