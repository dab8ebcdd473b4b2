import { DiffResponse, PropertyDiff } from "@pulumi/pulumi/proto/provider_pb";
import type { DiffEntry, Difference } from "../resource";
import { contains, type Path, parsePath, renderPath } from "./path";
import { isUnknown } from "./unknown";

/** How `diffValues` marks the entries that it finds. */
export interface DiffMarks {
  replace?: boolean;
  inputDiff?: boolean;
}

/**
 * Every difference between two values, as deep as both have the same shape. Undefined and null are absence; a value
 * that is not known yet counts as a change.
 * @param at where in the resource's properties both values are
 */
export function diffValues(old: unknown, next: unknown, at: Path, marks: DiffMarks = {}): DiffEntry[] {
  if (Object.is(old, next) || (isAbsent(old) && isAbsent(next))) return [];
  const entry = (kind: DiffEntry["kind"]): DiffEntry[] => [{ path: renderPath(at), kind, ...marks }];
  if (isAbsent(old)) return entry("add");
  if (isAbsent(next)) return entry("delete");
  if (Array.isArray(old) && Array.isArray(next)) {
    const length = Math.max(old.length, next.length);
    return Array.from({ length }, (_, i) => diffValues(old[i], next[i], [...at, i], marks)).flat();
  }
  if (isObject(old) && isObject(next)) {
    const keys = [...new Set([...Object.keys(old), ...Object.keys(next)])];
    return keys.flatMap((key) => diffValues(own(old, key), own(next, key), [...at, key], marks));
  }
  return entry("update");
}

function isAbsent(value: unknown): boolean {
  return value === undefined || value === null;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !isUnknown(value);
}

function own(object: Record<string, unknown>, key: string): unknown {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

const KINDS = {
  add: [PropertyDiff.Kind.ADD, PropertyDiff.Kind.ADD_REPLACE],
  delete: [PropertyDiff.Kind.DELETE, PropertyDiff.Kind.DELETE_REPLACE],
  update: [PropertyDiff.Kind.UPDATE, PropertyDiff.Kind.UPDATE_REPLACE],
} as const;

/** The engine's form of a difference, without the entries below a path that the program ignores. */
export function diffResponse(difference: Difference, ignoreChanges: readonly string[]): DiffResponse {
  const ignored = ignoreChanges.map(parsePath);
  const response = new DiffResponse();
  const changed = new Set<string>();
  const replaced = new Set<string>();
  for (const entry of difference.entries) {
    const path = parsePath(entry.path);
    if (ignored.some((outer) => contains(outer, path))) continue;
    const key = String(path[0]);
    changed.add(key);
    if (entry.replace) replaced.add(key);
    const detail = new PropertyDiff();
    detail.setKind(KINDS[entry.kind][entry.replace ? 1 : 0]);
    detail.setInputdiff(entry.inputDiff ?? false);
    response.getDetaileddiffMap().set(entry.path, detail);
  }
  response.setHasdetaileddiff(true);
  response.setChanges(changed.size > 0 ? DiffResponse.DiffChanges.DIFF_SOME : DiffResponse.DiffChanges.DIFF_NONE);
  response.setDiffsList([...changed]);
  response.setReplacesList([...replaced]);
  response.setDeletebeforereplace(difference.deleteBeforeReplace ?? false);
  response.setStablesList(difference.stables ?? []);
  return response;
}
