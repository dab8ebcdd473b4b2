import type { SelectStmt } from "libpg-query";
import { partsOf } from "../../postgres/catalogue/cascade";
import type { ConstraintFact, IndexFact, Relation } from "../../postgres/catalogue/catalogue";
import { type Action, type CreateRelation, privilegesOf } from "../../postgres/read/actions";
import { queryColumns } from "../../postgres/read/query-columns";
import { type RoutineShape, serves } from "../../postgres/read/routine";
import type { RuleContext } from "../../postgres/run/rule-context";
import type { Name } from "../../postgres/syntax/names";
import type { ConstraintSpec, TriggerShape } from "../../postgres/syntax/specs";
import { placeOf } from "./rules";

/** What a transaction drops and makes again is there for the releases that run: nobody sees the moment between. */

/** As PostgreSQL numbers the events of triggers. */
const UPDATE = 16;

type Of<Kind extends Action["kind"]> = Extract<Action, { kind: Kind }>;

/** The last word of a transaction on something: what makes it again, unless it is dropped after that. */
function lastMade<Made extends Action>(
  context: RuleContext,
  makes: (action: Action) => action is Made,
  drops: (action: Action) => boolean,
): Made | undefined {
  let made: Made | undefined;
  for (const action of context.following()) {
    if (makes(action)) made = action;
    else if (drops(action)) made = undefined;
  }
  return made;
}

/** What is missing of a view that comes back: its columns, privileges on it, or the certainty that its columns are of their types. */
export type Remade = { missing: readonly string[]; what: "columns" | "privileges" | "types" };

/** Undefined where the view does not come back, or nothing is known of its columns. Nothing is missing where it serves as before. */
export function remadeView(context: RuleContext, name: Name, cascade: boolean): Remade | undefined {
  const { key, relation } = context.resolve(name);
  if (!relation?.complete || (relation.kind !== "view" && relation.kind !== "matview")) return undefined;
  const next = viewMade(context, key);
  const columns = next && shownBy(context, next);
  if (columns === undefined) return undefined;
  const missing = [...relation.columns.keys()].filter((column) => !columns.includes(column));
  if (missing.length > 0) return { missing, what: "columns" };
  if (cascade && !dependentsComeBack(context, relation)) return undefined;
  if (next?.empty || !partsComeBack(context, key, name)) return undefined;
  const granted = grantedOn(context, key);
  const lost = [...relation.granted].filter(
    (privilege) =>
      !granted.has(privilege) && !granted.has(privilege.replace(/^.*? to (?!.* WITH GRANT OPTION$)/, "all to ")),
  );
  if (lost.length > 0) return { missing: lost, what: "privileges" };
  const same = next?.query !== undefined && givesSameTypes(next.query, relation.query);
  return { missing: same ? [] : [...relation.columns.keys()], what: "types" };
}

/** Triggers, rules and indexes go with their view. */
function partsComeBack(context: RuleContext, key: string, name: Name): boolean {
  const { catalogue } = context;
  const trigger = `trigger ${key} `;
  const parts = partsOf(catalogue, key);
  return (
    parts.every((part) => part.startsWith(trigger) && isTriggerRemade(context, name, part.slice(trigger.length))) &&
    catalogue.indexesOf(key).every(([, { index }]) => isIndexRemade(context, key, index))
  );
}

function isIndexRemade(
  context: RuleContext,
  key: string,
  { columns, unique, partial, expressions }: IndexFact,
): boolean {
  if (partial || expressions) return false;
  return context
    .following()
    .some(
      (action) =>
        action.kind === "create-index" &&
        placeOf(context, action.table) === key &&
        (action.unique || !unique) &&
        !action.partial &&
        !action.expressions &&
        action.columns.join() === columns.join(),
    );
}

/** Whether a query gives all that another one does in the same words, out of the same relations. */
function givesSameTypes(query: SelectStmt, before: SelectStmt | undefined): boolean {
  if (before === undefined) return false;
  const text = (node: unknown) => JSON.stringify(node, (of, value) => (of === "location" ? undefined : value));
  if (text(query) === text(before)) return true;
  const isPlain = ({ larg, withClause, valuesLists }: SelectStmt) => !larg && !withClause && !valuesLists;
  if (!isPlain(query) || !isPlain(before) || text(query.fromClause) !== text(before.fromClause)) return false;
  const targets = new Set((query.targetList ?? []).map(text));
  return (before.targetList ?? []).every((target) => targets.has(text(target)));
}

function viewMade(context: RuleContext, key: string): CreateRelation | undefined {
  return lastMade(
    context,
    (action): action is CreateRelation =>
      action.kind === "create-relation" &&
      (action.relation === "view" || action.relation === "matview") &&
      !action.temporary &&
      placeOf(context, action.name) === key,
    (action) => action.kind === "drop" && /view/.test(action.object) && context.resolve(action.name).key === key,
  );
}

/** Columns of a view that is still to be made; those that it reads may be, too. */
function shownBy(context: RuleContext, { name, query, columnNames }: CreateRelation): readonly string[] | undefined {
  const own = placeOf(context, name);
  const lookUp = (source: Name): readonly string[] | undefined => {
    const place = placeOf(context, source);
    const made = place === own ? undefined : viewMade(context, place);
    if (made) return shownBy(context, made);
    return context.catalogue.columnNames(source, context.searchPath);
  };
  const columns = query && queryColumns(query, lookUp);
  return columns?.map((column, index) => columnNames[index] ?? column);
}

/** CASCADE takes other views along; they must come back as well. */
function dependentsComeBack(context: RuleContext, { pinned }: Relation): boolean {
  return [...pinned.keys()].every((holder) => {
    const view = context.catalogue.relations.get(holder);
    if (view === undefined) return false;
    const remade = remadeView(context, { schema: view.schema, name: view.name }, true);
    return remade !== undefined && (remade.missing.length === 0 || remade.what === "types");
  });
}

function grantedOn(context: RuleContext, key: string): ReadonlySet<string> {
  return new Set(
    context
      .following()
      .flatMap((action) =>
        action.kind === "grant" && action.objects.some((name) => placeOf(context, name) === key)
          ? privilegesOf(action)
          : [],
      ),
  );
}

/** The constraint over the same columns that takes the place of a dropped one; of the same name, where queries may name it. */
export function remadeConstraint(context: RuleContext, table: Name, fact: ConstraintFact): ConstraintSpec | undefined {
  const { key } = context.resolve(table);
  const isIt = (spec: ConstraintSpec): boolean => {
    const index =
      spec.usingIndex === undefined ? undefined : context.resolve({ ...table, name: spec.usingIndex }).relation;
    const columns = index?.index?.columns ?? spec.columns;
    if (spec.kind !== fact.kind || [...columns].sort().join() !== [...fact.columns].sort().join()) return false;
    if (fact.kind === "foreign")
      return spec.references !== undefined && context.resolve(spec.references.table).key === fact.references;
    return fact.kind === "check" || (spec.name ?? spec.usingIndex ?? fact.name) === fact.name;
  };
  const made = lastMade(
    context,
    (action): action is { table: Name } & Of<"add-constraint"> =>
      action.kind === "add-constraint" && context.resolve(action.table).key === key && isIt(action.constraint),
    (action) =>
      action.kind === "drop-constraint" && context.resolve(action.table).key === key && action.name === fact.name,
  );
  return made?.constraint;
}

/** Whether a unique index, or a unique constraint, comes back over the same columns. */
export function isUniqueRemade(context: RuleContext, name: Name, table: string, columns: readonly string[]): boolean {
  if (columns.length === 0) return false;
  const isOver = (others: readonly string[]) => [...others].sort().join() === [...columns].sort().join();
  return (
    lastMade(
      context,
      (action): action is Of<"create-index"> | ({ table: Name } & Of<"add-constraint">) => {
        if (action.kind !== "create-index" && action.kind !== "add-constraint") return false;
        if (context.resolve(action.table).key !== table) return false;
        if (action.kind === "create-index")
          return action.unique && !action.partial && !action.expressions && isOver(action.columns);
        return /^(?:unique|primary)$/.test(action.constraint.kind) && isOver(action.constraint.columns);
      },
      (action) => action.kind === "drop" && action.object === "index" && action.name.name === name.name,
    ) !== undefined
  );
}

/** Whether a primary key over the columns comes, as one of another name in the place of a unique constraint. */
export function isKeyAdded(context: RuleContext, table: string, columns: readonly string[]): boolean {
  const sorted = [...columns].sort().join();
  return context
    .following()
    .some(
      (action) =>
        action.kind === "add-constraint" &&
        action.constraint.kind === "primary" &&
        context.resolve(action.table).key === table &&
        [...action.constraint.columns].sort().join() === sorted,
    );
}

/** Whether a trigger comes back that does all that it did; where that is not known, none does. */
export function isTriggerRemade(context: RuleContext, table: Name, name: string): boolean {
  const { key, relation } = context.resolve(table);
  const before = relation?.triggers.get(name);
  const made = lastMade(
    context,
    (action): action is Of<"create-trigger"> =>
      action.kind === "create-trigger" && action.name === name && context.resolve(action.table).key === key,
    (action) =>
      action.kind === "drop" &&
      action.object === "trigger" &&
      action.part === name &&
      context.resolve(action.name).key === key,
  );
  return before !== undefined && made !== undefined && runsAsBefore(made.shape, before);
}

function runsAsBefore(shape: TriggerShape, before: TriggerShape): boolean {
  const anyColumn = shape.columns.length === 0;
  const columns = before.columns.length > 0 && before.columns.every((column) => shape.columns.includes(column));
  return (
    shape.form === before.form &&
    (shape.events & before.events) === before.events &&
    (anyColumn || columns || (before.events & UPDATE) === 0)
  );
}

/** Whether a function comes back that serves its callers as before; `signature` tells which, where it is not the only one. */
export function isRoutineRemade(context: RuleContext, name: Name, signature: string | undefined): boolean {
  const facts = context.catalogue.functionsNamed(name, context.searchPath);
  const dropped = facts.filter(({ shape }) => signature === undefined || shape.signature === signature);
  const [only] = dropped;
  if (only === undefined || dropped.length > 1) return false;
  const place = placeOf(context, name);
  const made = lastMade(
    context,
    (action): action is Of<"create-routine"> & RoutineShape =>
      action.kind === "create-routine" &&
      placeOf(context, action.name) === place &&
      action.signature === only.shape.signature,
    (action) =>
      action.kind === "drop" &&
      /^(?:function|procedure|routine)$/.test(action.object) &&
      placeOf(context, action.name) === place &&
      (action.signature ?? only.shape.signature) === only.shape.signature,
  );
  return made !== undefined && serves(made, only.shape);
}

export function isDefaultRemade(context: RuleContext, table: Name, column: string): boolean {
  const { key } = context.resolve(table);
  const isIt = (action: { table: Name; column: string }) =>
    action.column === column && context.resolve(action.table).key === key;
  return (
    lastMade(
      context,
      (action): action is { table: Name } & Of<"set-default"> => action.kind === "set-default" && isIt(action),
      (action) => action.kind === "drop-default" && isIt(action),
    ) !== undefined
  );
}
