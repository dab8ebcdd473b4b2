import type { EvidenceRecord } from "../model/evidence/record";
import { SLI_METRICS } from "../model/gate/sli";
import { formatLatency, formatRatio } from "./words";

/** A metric that a breached gate measured last, beside what it was held against. */
interface Compared {
  metric: string;
  measured: string;
  /** `limit 500 ms`, or `stable side 240 ms`. */
  against: string;
  /** How many times that, where it was above: `1.6 × the limit`. */
  times?: string | undefined;
  broken: boolean;
}

export interface Breach {
  stage: string;
  gate: string;
  at?: number | undefined;
  reason?: string | undefined;
  requests?: number | undefined;
  compared: Compared[];
}

const RATIOS: readonly string[] = SLI_METRICS.filter((metric) => /^(?:errors|[45]xx)$/.test(metric));
const BESIDE = "stable ";

/** The failed measurement that ended a change; undefined if no gate ended it. */
export function breachOf({ gates, marks }: EvidenceRecord): Breach | undefined {
  const gate = gates.findLast(({ outcome }) => outcome === "breach");
  if (gate === undefined) return undefined;
  const last = gate.measurements.at(-1);
  const values = last?.values ?? {};
  const one = (metric: string, limit: number, name: string): Compared[] => {
    const value = values[metric];
    if (value === undefined) return [];
    const format = RATIOS.includes(metric) ? formatRatio : formatLatency;
    const broken = last?.verdict === "fail" && value >= limit;
    return [
      {
        ...{ metric, measured: format(value), against: `${name} ${format(limit)}`, broken },
        ...(broken && limit > 0 ? { times: `${Number((value / limit).toPrecision(2))} \u00d7 the ${name}` } : {}),
      },
    ];
  };
  return {
    ...{ stage: gate.stage, gate: gate.gate, reason: gate.reason, requests: values.requests },
    at: last?.at ?? marks.find(({ kind }) => kind === "breach")?.at,
    compared: [
      ...gate.bounds.flatMap(({ metric, limit }) => one(metric, limit, "limit")),
      ...Object.entries(values).flatMap(([key, value]) =>
        key.startsWith(BESIDE) ? one(key.slice(BESIDE.length), value, "stable side") : [],
      ),
    ],
  };
}
