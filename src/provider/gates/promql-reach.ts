import { parser } from "@prometheus-io/lezer-promql";
import { quoteValue } from "../../model/types/messages";

type Node = ReturnType<typeof parser.parse>["topNode"];

/**
 * How old the newest sample of a selector without a range may be, in milliseconds, unless the server is configured otherwise
 * (https://prometheus.io/docs/prometheus/latest/querying/basics/#staleness).
 */
export const LOOKBACK_MS = 300_000;

/** How far back a query looks, so that a gate knows which of its samples are of before the watch. */
export interface Reach {
  /** Longest range of a selector, those of subqueries around it added, in milliseconds. */
  rangeMs: number;
  /** Selectors without a range: the newest sample counts, also one of some minutes ago. */
  instants: string[];
  /** Why the query can't be read here; it is then taken to look back as far as a selector without a range. */
  problem?: string;
}

interface Found {
  instants: Set<string>;
  /** Longest reach of what is asked of another time by `offset`, that time added, in milliseconds. */
  pastMs: number;
}

/** The query is none, or in a newer dialect. */
class Unreadable extends Error {}

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
 * The reach of a query. Beside other selectors, those with `offset` or `@` do not count: they are meant to be of the past. Where all
 * have an offset, it only waits for late samples, and counts.
 */
export function reachOf(query: string): Reach {
  const found: Found = { instants: new Set(), pastMs: 0 };
  try {
    const rangeMs = reachOfNode(parser.parse(query).topNode, query, found);
    const instants = [...found.instants];
    return { rangeMs: rangeMs === 0 && instants.length === 0 ? found.pastMs : rangeMs, instants };
  } catch (error) {
    if (error instanceof Unreadable) return { rangeMs: LOOKBACK_MS, instants: [], problem: error.message };
    throw error;
  }
}

function reachOfNode(node: Node, query: string, found: Found): number {
  if (node.type.isError) {
    const around = query.slice(Math.max(0, node.from - 20), node.to + 20).trim();
    throw new Unreadable(`${quoteValue(query)} can't be read as PromQL near ${quoteValue(around)}`);
  }
  switch (node.name) {
    case "OffsetExpr":
      return reachOfModified(node.firstChild, offsetOf(node, query), query, found);
    case "StepInvariantExpr":
      return reachOfModified(node.firstChild, undefined, query, found);
    case "VectorSelector":
      found.instants.add(query.slice(node.from, node.to));
      return 0;
    case "MatrixSelector":
      return rangeOf(node, query);
    case "SubqueryExpr":
      return rangeOf(node, query) + wholeReachOf(childrenOf(node), query);
    default:
      return Math.max(0, ...childrenOf(node).map((child) => reachOfNode(child, query, found)));
  }
}

/** The reach of parts, their selectors without a range included. */
function wholeReachOf(nodes: readonly Node[], query: string): number {
  const found: Found = { instants: new Set(), pastMs: 0 };
  const rangeMs = Math.max(0, ...nodes.map((node) => reachOfNode(node, query, found)));
  return Math.max(rangeMs, found.instants.size > 0 ? LOOKBACK_MS : 0);
}

/** Of `a / b offset 1d`, which is a modifier around all of it for this grammar, Prometheus modifies only `b`. */
function reachOfModified(node: Node | null, offsetMs: number | undefined, query: string, found: Found): number {
  if (node === null) return 0;
  if (node.name === "BinaryExpr") {
    const { firstChild: left, lastChild: right } = node;
    const leftMs = left === null ? 0 : reachOfNode(left, query, found);
    return Math.max(leftMs, reachOfModified(right, offsetMs, query, found));
  }
  if (offsetMs !== undefined) found.pastMs = Math.max(found.pastMs, offsetMs + wholeReachOf([node], query));
  return 0;
}

function childrenOf(node: Node): Node[] {
  const children: Node[] = [];
  for (let child = node.firstChild; child !== null; child = child.nextSibling) children.push(child);
  return children;
}

/** The range in the brackets at a selector's or subquery's end, in milliseconds. */
function rangeOf(node: Node, query: string): number {
  const text = query.slice(node.firstChild?.to ?? node.from, node.to);
  const [, duration = ""] = /^\s*\[\s*([^\]:]*?)\s*[\]:]/.exec(text) ?? [];
  return durationOf(duration, text, query);
}

/** The offset of an expression, in milliseconds; 0 for one into the future. */
function offsetOf(node: Node, query: string): number {
  const text = query.slice(node.firstChild?.to ?? node.from, node.to);
  const [, sign = "", duration = ""] = /^\s*offset\s+(-?)\s*(\S+)\s*$/i.exec(text) ?? [];
  return sign === "-" ? 0 : durationOf(duration, text, query);
}

function durationOf(duration: string, text: string, query: string): number {
  const ms = SECONDS.test(duration) ? Number(duration) * 1000 : millisecondsOf(duration);
  if (ms === undefined)
    throw new Unreadable(`${quoteValue(text.trim())} of the query ${quoteValue(query)} can't be read as one duration`);
  return ms;
}

function millisecondsOf(duration: string): number | undefined {
  const parts = [...duration.matchAll(/(\d+)(ms|[smhdwy])/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join("") !== duration) return undefined;
  return parts.reduce((sum, [, amount, unit = ""]) => sum + Number(amount) * (UNIT_MS[unit] ?? 0), 0);
}
