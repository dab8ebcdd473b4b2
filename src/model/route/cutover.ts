import type { GateInput } from "../gate/gate";
import { type Duration, milliseconds } from "../types/duration";
import { quoteValue } from "../types/messages";
import { type Percent, parsePercent } from "./split";
import { DEFAULT_WINDOW, STABLE, type StageInput } from "./stages";

/** The last stage: the old system is gone, and the new one serves without stages. */
export const DECOMMISSIONED = "decommissioned";
/** Shares of the requests that go to the new system, one after the other. */
const SHARES = ["1%", "10%", "50%", "100%"] as const satisfies readonly Percent[];
/** The stages of a cutover, in their order. */
const CUTOVER_STAGES = [STABLE, "parity", "shadow", ...SHARES, DECOMMISSIONED] as const;
export type CutoverStage = (typeof CUTOVER_STAGES)[number];
/** Stages that are held for a while. */
type HeldStage = "shadow" | (typeof SHARES)[number];

/** Share of requests with a server error that a read-serving system may have. */
const DEFAULT_ERRORS: Percent = "0.1%";
/** Share of the requests whose copies the new system gets in the stage `shadow`. */
const DEFAULT_SHADOW: Percent = "100%";
/** Time between two probes of the gates. */
const DEFAULT_INTERVAL: Duration = "10 seconds";

/** A figure that the new system tells of itself: of a Prometheus server, or at a URL that answers 200 to 299 while it is good. */
type SystemCheck =
  | {
      /** Address of a Prometheus server. */
      prometheus: string;
      /** PromQL that gives a number, or one per series. */
      query: string;
      /** The condition on the value, such as `"< 80 %"` or `"< 900 s"`. */
      must: string;
    }
  | {
      http: string;
      /** Text that the answer must hold. @default any answer */
      contains?: string | undefined;
    };

/** Limits that a read-serving system must keep while it takes over. */
export interface CutoverLevels {
  /** The promise to its users: p99 to the head of an answer, and the share of server errors (5xx, or cut off). */
  slo: {
    p99: Duration;
    /** @default "0.1%" */
    errors?: Percent | undefined;
  };
  /** Fewest requests (in `shadow`: copies) that a stage is judged by. @default 200 */
  minRequests?: number | undefined;
  /** Time between two probes. @default "10 seconds" */
  interval?: Duration | undefined;
  /** How full its pools are (connections, threads), such as `must: "< 80 %"`. @default not watched */
  saturation?: SystemCheck | undefined;
  /** Age of the data that it serves, such as `must: "< 900 s"`. @default not watched */
  snapshotAge?: SystemCheck | undefined;
  /** Whether its last refresh went well, such as `must: "> 0"`. @default not watched */
  refresh?: SystemCheck | undefined;
}

export interface CutoverPlan extends CutoverLevels {
  /** Fields of the parity gate (see docs/gates.md), but for its kind. */
  parity: Omit<Extract<GateInput, { kind: "parity" }>, "kind">;
  /** Time for which stages are held: one for all, or by stage. @default "5 minutes" each */
  window?: Duration | Partial<Record<HeldStage, Duration>> | undefined;
  /** Share of the requests that are copied in the stage `shadow`. @default "100%" */
  shadow?: Percent | undefined;
}

/** The gates of a read-serving system: its server errors and latency, its servers ready, and what it tells of itself. */
export function readServingGates(levels: CutoverLevels, source: "meter" | "mirror"): GateInput[] {
  const { minRequests, interval = DEFAULT_INTERVAL } = levels;
  const checks = (["saturation", "snapshotAge", "refresh"] as const).flatMap((key) => {
    const check = levels[key];
    return check === undefined ? [] : [checkGate(NAMES[key], check, interval)];
  });
  return [
    {
      kind: "sli",
      source,
      name: source === "mirror" ? "shadow" : "service level",
      interval,
      thresholds: serviceLevel(levels),
      ...(minRequests !== undefined && { minRequests }),
    },
    { kind: "health", name: "ready", interval },
    ...checks,
  ];
}

const NAMES = { saturation: "saturation", snapshotAge: "snapshot age", refresh: "refresh" } as const;

function checkGate(name: string, check: SystemCheck, interval: Duration): GateInput {
  if ("http" in check) {
    const { http, contains } = check;
    return { kind: "http", name, interval, url: http, ...(contains !== undefined && { contains }) };
  }
  const { prometheus, query, must } = check;
  return { kind: "sli", source: "prometheus", name, interval, url: prometheus, query, must };
}

/** The promise as thresholds. */
export function serviceLevel({ slo: { p99, errors = DEFAULT_ERRORS } }: Pick<CutoverLevels, "slo">): string[] {
  return [`errors < ${(parsePercent(errors) ?? 0) / 100} %`, `p99 < ${milliseconds(p99)} ms`];
}

/** The stages between `stable` and `decommissioned`, as a route has them. */
export function cutoverStages(plan: CutoverPlan): StageInput[] {
  const { window = {}, shadow = DEFAULT_SHADOW, parity } = plan;
  const held = (stage: HeldStage) => (typeof window === "string" ? window : (window[stage] ?? DEFAULT_WINDOW));
  return [
    { name: "parity", split: "0%", window: "0 seconds", gates: [{ kind: "parity", ...parity }] },
    {
      name: "shadow",
      split: "0%",
      mirror: shadow,
      window: held("shadow"),
      gates: readServingGates(plan, "mirror"),
    },
    ...SHARES.map((split) => ({ split, window: held(split), gates: readServingGates(plan, "meter") })),
  ];
}

/** Checks what a program gives as the stage to be in. Throws where it is none. */
export function cutoverStage(stage: string): CutoverStage {
  const found = CUTOVER_STAGES.find((each) => each === stage);
  if (found === undefined)
    throw new Error(
      `${quoteValue(stage)} is not a stage of a cutover: use one of ${CUTOVER_STAGES.map(quoteValue).join(", ")}`,
    );
  return found;
}
