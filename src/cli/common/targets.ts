import type { AgentStatus } from "../../agent/api/answers";
import { observed } from "../status/observed";
import { UsageError } from "./exit";
import { unknownName } from "./nearest";

/** A process of an agent, as people name it. */
export interface ProcessName {
  /** Absent for an edge's HAProxy. */
  pool?: string;
  process: string;
  key: string;
  /** On its host. */
  id: string;
}

/** How targets are written, for help texts. */
export const TARGET_FORMS = "POOL, POOL/PROCESS, POOL/PROCESS#REPLICA, a process's id, or edge/EDGE";

/** Every process that an agent supervises: those of pools, and each edge's HAProxy. */
export function processesOf({ pools, edges }: Pick<AgentStatus, "pools" | "edges">): ProcessName[] {
  return [
    ...observed(pools).flatMap(({ name: pool, processes }) =>
      processes.map(({ process, key, id }) => ({ pool, process, key, id })).toSorted(byName),
    ),
    ...Object.keys(edges).map((edge) => ({ process: "haproxy", key: `edge/${edge}`, id: `edge.${edge}` })),
  ];
}

function byName(a: ProcessName, b: ProcessName): number {
  return a.key.localeCompare(b.key, "en", { numeric: true }) || (a.id < b.id ? -1 : 1);
}

/**
 * The processes that targets mean; all where there is none.
 *
 * @throws UsageError with the nearest names for each target that means nothing
 */
export function selected(targets: readonly string[], all: readonly ProcessName[]): ProcessName[] {
  const missing = targets.filter((target) => !all.some((process) => isMeant(process, target)));
  if (missing.length > 0)
    throw new UsageError(missing.map((target) => unknownName("process or pool", target, namesOf(all))));
  return all.filter((process) => targets.length === 0 || targets.some((target) => isMeant(process, target)));
}

function isMeant(process: ProcessName, target: string): boolean {
  return formsOf(process).includes(target);
}

function formsOf({ pool, process, key, id }: ProcessName): string[] {
  return pool === undefined ? [key, id] : [pool, `${pool}/${process}`, `${pool}/${key}`, id];
}

/** Everything that may be written for these processes, without what only counts generations. */
export function namesOf(all: readonly ProcessName[]): string[] {
  return [...new Set(all.flatMap((process) => formsOf(process).slice(0, process.pool === undefined ? 1 : 3)))];
}
