import type { CompareAnswer, Compared } from "../../agent/api/answers";
import { AgentError } from "../../agent/client/connection";
import type { StepInput } from "../../model/protocol/transaction";
import { differences } from "../checks/inputs";
import { type AgentRef, withAgent } from "../resources/agent-ref";
import {
  type Context,
  contains,
  containsUnknown,
  type DiffEntry,
  type DiffRequest,
  diffValues,
  getAt,
  type Path,
  parsePath,
  renderPath,
} from "../server";

/** State of a resource that an agent has committed, beside the wanted one. */
export interface Comparison {
  compare: () => Promise<CompareAnswer | undefined>;
  /** The input that stands for a property of both; undefined if none does. @default the same one */
  input?: (path: Path) => Path | undefined;
}

/** The comparison of a step with what an agent has committed. */
export function comparison(agent: AgentRef, step: StepInput): Comparison {
  return { compare: () => committedOn(agent, step) };
}

/**
 * Compares the state of a step's target that an agent has committed with the step's; undefined if it can't be asked.
 */
export function committedOn<T extends Compared>(
  agent: AgentRef,
  step: StepInput,
): Promise<CompareAnswer<T> | undefined> {
  return withAgent(agent, (client) => client.compare<T>(step)).catch(nothingOf);
}

/** The read and the check of a resource tell why its agent can't be asked. */
function nothingOf(error: unknown): undefined {
  if (!(error instanceof AgentError)) throw error;
}

/** Most properties that are named beside each other, and most characters of a value. */
const MAX_NAMED = 5;
const MAX_VALUE = 80;

/** All differences of a resource: of what is declared, of what was observed, and of what its agents have committed. */
export async function allDifferences<I extends object>(
  context: Context,
  request: DiffRequest<I, object>,
  {
    comparisons,
    ...declared
  }: Parameters<typeof differences<I>>[1] & {
    /** Comparisons that its agents make. */
    comparisons: (news: I) => Comparison[];
  },
): Promise<DiffEntry[]> {
  const entries = differences(request, declared);
  return [...entries, ...(await committedDifferences(context, request, entries, comparisons))];
}

/**
 * How what agents have committed differs from what is declared where the recorded state does not show it, such as after an older
 * state was restored: an update brings that back, and a preview says so. Nothing where an agent can't be asked.
 *
 * @param entries the differences that are known already
 */
export async function committedDifferences<I>(
  { log }: Context,
  { news, ignoreChanges }: Pick<DiffRequest<I, unknown>, "news" | "ignoreChanges">,
  entries: DiffEntry[],
  comparisons: (news: I) => Comparison[],
): Promise<DiffEntry[]> {
  if (containsUnknown(news)) return [];
  const known = [...entries.map(({ path }) => path), ...ignoreChanges].map(parsePath);
  const found = (await Promise.all(comparisons(news).map(newerIn))).flat();
  const newer = found.filter(({ path }) => !known.some((other) => contains(other, path) || contains(path, other)));
  if (newer.length > 0) {
    const named = newer.slice(0, MAX_NAMED).map(({ path, value }) => `${renderPath(path)}: ${value}`);
    const more = newer.length > MAX_NAMED ? ` and ${newer.length - MAX_NAMED} more` : "";
    log.warn(
      `its agent has ${named.join(", ")}${more}, which the recorded state does not know (was an older one restored?): the update brings back what is declared`,
    );
  }
  return newer.map(({ path, kind }) => ({ path: renderPath(path), kind, inputDiff: true }));
}

/** An input of which an agent has another value than what is declared. */
interface Newer {
  path: Path;
  kind: DiffEntry["kind"];
  /** As the agent has it, for people. */
  value: string;
}

async function newerIn({ compare, input = (path) => path }: Comparison): Promise<Newer[]> {
  const answer = await compare().catch(nothingOf);
  const { committed, wanted } = answer ?? {};
  if (committed === undefined) return [];
  return diffValues(committed, wanted, []).flatMap((entry) => {
    const at = parsePath(entry.path);
    const path = input(at);
    return path === undefined ? [] : [{ path, kind: entry.kind, value: shownAt(committed, at) }];
  });
}

function shownAt(committed: object, path: Path): string {
  if (path.includes("secretEnv")) return "another secret";
  const value = JSON.stringify(getAt(committed, path)) ?? "nothing";
  return value.length > MAX_VALUE ? `${value.slice(0, MAX_VALUE)}...` : value;
}
