import type { Catalogue } from "./catalogue";

/** Forgets a relation, what belongs to it, and, with CASCADE, what depends on it. */
export function forgetRelation(catalogue: Catalogue, key: string, cascade: boolean): void {
  const relation = catalogue.relations.get(key);
  for (const [index] of catalogue.indexesOf(key)) catalogue.relations.delete(index);
  catalogue.relations.delete(key);
  catalogue.unpin(key);
  for (const part of partsOf(catalogue, key)) catalogue.others.delete(part);
  for (const [other, { owner, partitionOf }] of catalogue.relations)
    if (owner === key || partitionOf === key) forgetRelation(catalogue, other, cascade);
  if (!cascade) return;
  forgetHolders(catalogue, [...(relation?.pinned.keys() ?? [])]);
  for (const [other, { constraints }] of catalogue.relations)
    for (const { name, references } of constraints.values())
      if (references === key) catalogue.own(other)?.constraints.delete(name);
}

/** Triggers, rules and policies of a table, as the catalogue names them. */
export function partsOf(catalogue: Catalogue, table: string): string[] {
  const own = ["trigger", "rule", "policy"].map((kind) => `${kind} ${table} `);
  return [...catalogue.others.keys()].filter((part) => own.some((prefix) => part.startsWith(prefix)));
}

/** What depends on a column that CASCADE takes along; which columns a view reads is not always told. */
export function forgetDependents(catalogue: Catalogue, table: string, column: string): void {
  const pinned = catalogue.relations.get(table)?.pinned ?? new Map<string, readonly string[]>();
  forgetHolders(
    catalogue,
    [...pinned].filter(([, names]) => names.includes(column) || names.includes("*")).map(([holder]) => holder),
  );
}

/** CASCADE of a type takes its columns along. */
export function forgetColumnsOf(catalogue: Catalogue, key: string, name: string): void {
  for (const [table, { columns }] of catalogue.relations)
    for (const { name: column, type } of columns.values())
      if (type?.name === name && (type.schema === undefined || key.startsWith(type.schema))) {
        forgetDependents(catalogue, table, column);
        catalogue.own(table)?.columns.delete(column);
      }
}

function forgetHolders(catalogue: Catalogue, holders: readonly string[]): void {
  for (const holder of holders) {
    catalogue.others.delete(holder);
    if (/view$/.test(catalogue.relations.get(holder)?.kind ?? "")) forgetRelation(catalogue, holder, true);
  }
}
