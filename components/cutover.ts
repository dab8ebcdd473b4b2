import * as pulumi from "@pulumi/pulumi";
import type { RouteLive } from "../src/model/protocol/live";
import {
  type CutoverPlan,
  cutoverStage,
  cutoverStages,
  DECOMMISSIONED,
  serviceLevel,
} from "../src/model/route/cutover";
import type { DeclaredRouteInput } from "../src/model/route/route";
import { STABLE } from "../src/model/route/stages";
import { Route, type RouteArgs } from "./route";

/** Methods whose requests are copied: a copy of anything else would be done twice. */
const READING: NonNullable<NonNullable<DeclaredRouteInput["mirror"]>["methods"]> = ["GET", "HEAD"];

export interface CutoverArgs
  extends CutoverPlan,
    Pick<RouteArgs, "edges" | "match" | "sticky" | "testers" | "sample" | "onBreach" | "name"> {
  /**
   * Stage to be in, of `stable`, `parity`, `shadow`, `1%`, `10%`, `50%`, `100%` and `decommissioned`. Up, it goes
   * through all between; down, it is at once. Change: live.
   */
  stage: string;
  /** Backend of the old system. May be left out once the stage is `decommissioned`. */
  from?: pulumi.Input<string> | undefined;
  /** Backend of the new system, which is the shadow as well. */
  to: pulumi.Input<string>;
  /**
   * How copies are made and sent in the stage `shadow` (see docs/mirror.md).
   *
   * @default those of a mirror, for GET and HEAD alone
   */
  mirror?: Omit<NonNullable<DeclaredRouteInput["mirror"]>, "to" | "share"> | undefined;
}

/**
 * Moves the requests of a route from one system to another, in fixed stages: the new one must answer the same (`parity`), answer
 * copies of real requests well (`shadow`), and then hold its service level with 1, 10, 50 and 100 % of them. `decommissioned`, which
 * only a cutover at 100 % reaches, ends with the new system alone. The edges need `meter: true`.
 *
 * ```ts
 * new Cutover("catalogue", {
 *   edges: [edge],
 *   from: old.backend,
 *   to: fresh.backend,
 *   stage: config.get("stage") ?? "stable",
 *   parity: { upstreamUrl: "http://10.0.0.5:8080", candidateUrl: "http://10.0.0.9:8080", requests: "requests.jsonl" },
 *   slo: { p99: "300 milliseconds" },
 *   window: { shadow: "24 hours", "1%": "30 minutes", "10%": "1 hour", "50%": "1 hour", "100%": "24 hours" },
 * });
 * ```
 */
export class Cutover extends pulumi.ComponentResource {
  /** Reality as it was last observed: the new system's share, and that of its copies, on each edge. */
  readonly live: pulumi.Output<RouteLive>;

  constructor(name: string, args: CutoverArgs, options?: pulumi.ComponentResourceOptions) {
    super("sluice:components:Cutover", name, {}, options);
    const route = new Route(`${name}-cutover`, { name, ...routeOf(args) }, { parent: this });
    this.live = route.live;
    this.registerOutputs({ live: this.live });
  }
}

function routeOf(args: CutoverArgs): RouteArgs {
  const { edges, match, name, to, from, sticky, testers, sample, onBreach, mirror } = args;
  const stage = cutoverStage(args.stage);
  const common = { edges, ...given({ match, name, sticky, onBreach }), slo: serviceLevel(args) };
  if (stage === DECOMMISSIONED) return { ...common, stable: to, stage: STABLE };
  if (from === undefined)
    throw new Error(
      `from is missing: name the backend of the old system, which only the stage "${DECOMMISSIONED}" does without`,
    );
  return {
    ...common,
    ...given({ testers, sample }),
    stable: from,
    candidate: to,
    mirror: pulumi.output(to).apply((backend) => ({ methods: READING, ...mirror, to: backend, share: "0%" as const })),
    stages: cutoverStages(args),
    stage,
  };
}

/** Without what is not given. */
function given<T extends object>(values: T): { [Key in keyof T]: Exclude<T[Key], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [Key in keyof T]: Exclude<T[Key], undefined>;
  };
}
