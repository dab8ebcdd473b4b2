import type { ProcessTemplate } from "../process/process-template";
import type { TemplateState } from "./pool-generation";
import type { Release } from "./release";

/** Identity of a release in a pool: its source, and all processes whose change restarts them. */

type Template = ProcessTemplate | TemplateState;

/** Properties of a process whose change restarts nothing. */
export const LIVE_PROPERTIES: readonly string[] = [
  "replicas",
  "minUptime",
  "stopSignal",
  "gracefulStop",
  "lifecycle",
  "nonBlockingDrain",
  "restart",
  "memory",
  "output",
  "outputLines",
] satisfies (keyof ProcessTemplate)[];

/** The release but for what it needs of a database, and all of its processes that is not live, as a text to compare. */
export function identityOf({
  release,
  processes,
}: {
  release: Release;
  processes: Readonly<Record<string, Template>>;
}): string {
  const fixed = Object.entries(processes)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([id, template]) => [id, templateIdentity(template)]);
  const { requiresMigration: _requires, toleratesMigration: _tolerates, ...source } = release;
  return JSON.stringify([sortedKeys(source), fixed]);
}

/** All of a template that is not live, as a text to compare; the order of keys makes no difference. */
export function templateIdentity(template: Template): string {
  const fixed = Object.entries(template).filter(([property]) => !LIVE_PROPERTIES.includes(property));
  return JSON.stringify(sortedKeys(Object.fromEntries(fixed)));
}

/** Whether two values of properties are the same; the order of keys makes no difference. */
export function sameValue(one: unknown, other: unknown): boolean {
  return JSON.stringify(sortedKeys(one)) === JSON.stringify(sortedKeys(other));
}

function sortedKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortedKeys);
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined);
  return Object.fromEntries(
    entries.toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([key, inner]) => [key, sortedKeys(inner)]),
  );
}
