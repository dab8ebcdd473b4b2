import { type Gate, isJudgedBefore, type MeterSliGate } from "./gate";

/** Longest part of a query or command that a preview shows, in characters. */
const MAX_SHOWN = 60;

const OF_SHADOW = "of the shadow's answers";

/** A gate in one line, with what it takes to pass, for a preview. */
export function describeGate(gate: Gate): string {
  const title = gate.name === undefined ? gate.kind : `${gate.name} (${gate.kind})`;
  const window = isJudgedBefore(gate) || gate.window === undefined ? "" : ` for ${gate.window}`;
  return `${title}: ${conditionsOf(gate).join(", ")}${window}`;
}

/** Conditions that a gate must meet to pass, one text each. */
export function conditionsOf(gate: Gate): string[] {
  switch (gate.kind) {
    case "health":
      return ["all servers up"];
    case "sli":
      if (gate.source !== "prometheus") return meterConditions(gate);
      return [`${templateOf(gate)} ${gate.must}`, `from ${withoutUser(gate.url)}`];
    case "http":
      return [`GET ${withoutUser(gate.url)}`];
    case "command":
      return [short(gate.command.join(" "))];
    case "soak":
      return [
        ...(gate.source === "mirror" ? [OF_SHADOW] : []),
        `${gate.thresholds.join(", ")} over ${gate.duration} in the stage before`,
      ];
    case "parity":
      return [
        `${gate.requests ?? "the sample of the route's requests"} has the same answers from ${withoutUser(gate.candidateUrl)} as from ${withoutUser(gate.upstreamUrl)}`,
        ...(gate.maxProblems === 0 ? [] : [`at most ${gate.maxProblems} mismatches and errors`]),
        ...(gate.minCompared === 1 ? [] : [`at least ${gate.minCompared} compared`]),
      ];
  }
}

function meterConditions({ thresholds, notWorseThanStable, minRequests, source }: MeterSliGate): string[] {
  const relative =
    notWorseThanStable === undefined ? [] : [`${notWorseThanStable.metrics.join(" and ")} not worse than stable`];
  return [
    ...(source === "mirror" ? [OF_SHADOW] : []),
    ...thresholds,
    ...relative,
    `at least ${minRequests} ${source === "mirror" ? "copies" : "requests"}`,
  ];
}

function templateOf({ query, quantile, errorRatio }: Extract<Gate, { source: "prometheus" }>): string {
  if (quantile !== undefined) return `p${quantile.quantile * 100} of ${quantile.metric}`;
  return errorRatio === undefined ? short(query ?? "") : `share of errors in ${errorRatio.metric}`;
}

/** A URL without what it says of its user, and without its query, which may hold a token. */
function withoutUser(url: string): string {
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname}`;
}

function short(text: string): string {
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}...` : text;
}
