import { parser } from "@prometheus-io/lezer-promql";
import { quoteValue } from "../../model/types/messages";

type Node = ReturnType<typeof parser.parse>["topNode"];

/** A query that can't be read: no retry will mend it. */
export class BadQuery extends Error {}

/** How far back a query looks, so that a gate knows which of its samples are of before the watch. */
export interface Reach {
  /** Longest range of a selector, those of subqueries around it added, in milliseconds. */
  rangeMs: number;
  /** Selectors without a range: the newest sample counts, also one of some minutes ago. */
  instants: string[];
}

const UNIT_MS: Record<string, number> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
  y: 31_536_000_000,
};
/** Since Prometheus 3, a number alone is in seconds (https://prometheus.io/docs/prometheus/latest/querying/basics/). */
const SECONDS = /^\d+(?:\.\d+)?$/;

/**
 * The reach of a query. What it asks of another time, by `offset` or `@`, does not count: it is meant to be of the past.
 *
 * @throws BadQuery where it is no PromQL, or a range of it is more than one duration
 */
export function reachOf(query: string): Reach {
  const instants = new Set<string>();
  const rangeMs = reachOfNode(parser.parse(query).topNode, query, instants);
  return { rangeMs, instants: [...instants] };
}

function reachOfNode(node: Node, query: string, instants: Set<string>): number {
  if (node.type.isError) {
    const around = query.slice(Math.max(0, node.from - 20), node.to + 20).trim();
    throw new BadQuery(`${quoteValue(query)} is not PromQL near ${quoteValue(around)}: correct it`);
  }
  switch (node.name) {
    case "OffsetExpr":
    case "StepInvariantExpr":
      return reachOfModified(node.firstChild, query, instants);
    case "VectorSelector":
      instants.add(query.slice(node.from, node.to));
      return 0;
    case "MatrixSelector":
      return rangeOf(node, query);
    case "SubqueryExpr":
      // Of a selector within it, only samples of its range count.
      return (
        rangeOf(node, query) + Math.max(0, ...childrenOf(node).map((child) => reachOfNode(child, query, new Set())))
      );
    default:
      return Math.max(0, ...childrenOf(node).map((child) => reachOfNode(child, query, instants)));
  }
}

/** Of `a / b offset 1d`, which is a modifier around all of it for this grammar, Prometheus modifies only `b`. */
function reachOfModified(node: Node | null, query: string, instants: Set<string>): number {
  if (node?.name !== "BinaryExpr") return 0;
  const { firstChild: left, lastChild: right } = node;
  return Math.max(left === null ? 0 : reachOfNode(left, query, instants), reachOfModified(right, query, instants));
}

function childrenOf(node: Node): Node[] {
  const children: Node[] = [];
  for (let child = node.firstChild; child !== null; child = child.nextSibling) children.push(child);
  return children;
}

/** The range in the brackets at a selector's or subquery's end, in milliseconds. */
function rangeOf(node: Node, query: string): number {
  const [operand] = childrenOf(node);
  const text = query.slice(operand?.to ?? node.from, node.to);
  const [, duration = ""] = /^\s*\[\s*([^\]:]*?)\s*[\]:]/.exec(text) ?? [];
  const ms = SECONDS.test(duration) ? Number(duration) * 1000 : millisecondsOf(duration);
  if (ms === undefined)
    throw new BadQuery(
      `the range ${quoteValue(text.trim())} of the query ${quoteValue(query)} can't be read: write one duration, such as [5m]`,
    );
  return ms;
}

function millisecondsOf(duration: string): number | undefined {
  const parts = [...duration.matchAll(/(\d+)(ms|[smhdwy])/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join("") !== duration) return undefined;
  return parts.reduce((sum, [, amount, unit = ""]) => sum + Number(amount) * (UNIT_MS[unit] ?? 0), 0);
}
