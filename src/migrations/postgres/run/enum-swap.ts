import { type Catalogue, keyOf } from "../catalogue/catalogue";
import type { Action } from "../read/actions";
import type { Name } from "../syntax/names";

/** An enum that another one takes the place of, within one transaction: PostgreSQL can't take a value out of an enum. */
export interface EnumSwap {
  /** Name that releases know it by, before and after. */
  name: Name;
  /** Undefined where they are not known. */
  before: readonly string[] | undefined;
  after: readonly string[];
  /** Columns that are given the new type. */
  columns: readonly { table: Name; column: string }[];
  /** All that the swap consists of, in order. */
  actions: readonly Action[];
}

/** A type that is called by other names during the transaction. */
interface Type {
  /** Key of the name that it had before the transaction; undefined for one that is made in it. */
  old: string | undefined;
  values: readonly string[] | undefined;
  name: Name;
  actions: Action[];
}

const isTypeObject = (object: string): boolean => object === "type" || object === "domain";

/** The swaps that the actions of one transaction come down to. */
export function enumSwapsIn(
  actions: readonly Action[],
  catalogue: Catalogue,
  searchPath: readonly string[],
): EnumSwap[] {
  if (!actions.some((action) => action.kind === "create-type" && action.type === "enum")) return [];
  const types = new Map<string, Type>();
  const all: Type[] = [];
  const keyOfName = ({ schema, name }: Name): string => keyOf(schema ?? searchPath[0] ?? "public", name);
  const make = (key: string, type: Type): Type => {
    types.set(key, type);
    all.push(type);
    return type;
  };
  const typeNamed = (name: Name): Type => {
    const key = keyOfName(name);
    const values = catalogue.types.get(key)?.values;
    return types.get(key) ?? make(key, { old: key, values, name, actions: [] });
  };
  const retyped: { table: Name; column: string; type: Type }[] = [];
  for (const action of actions) {
    if (action.kind === "create-type" && action.type === "enum")
      make(keyOfName(action.name), {
        old: undefined,
        values: action.values ?? [],
        name: action.name,
        actions: [action],
      });
    else if (action.kind === "rename" && isTypeObject(action.object)) {
      const type = typeNamed(action.name);
      type.actions.push(action);
      types.delete(keyOfName(action.name));
      types.set(keyOfName({ ...action.name, name: action.to }), type);
    } else if (action.kind === "drop" && isTypeObject(action.object)) {
      const type = typeNamed(action.name);
      // CASCADE takes columns of the type along, which no swap does.
      if (!action.cascade) type.actions.push(action);
      types.delete(keyOfName(action.name));
    } else if (action.kind === "change-type") {
      const { schema, name } = action.type;
      const type = types.get(keyOfName(schema === undefined ? { name } : { schema, name }));
      if (type?.old !== undefined || type === undefined) continue;
      type.actions.push(action);
      retyped.push({ table: action.table, column: action.column, type });
    }
  }
  return all.flatMap((old): EnumSwap[] => {
    const next = old.old === undefined ? undefined : types.get(old.old);
    if (next === undefined || next.old !== undefined) return [];
    const own = new Set([...old.actions, ...next.actions]);
    return [
      {
        name: old.name,
        before: old.values,
        after: next.values ?? [],
        columns: retyped.filter(({ type }) => type === next).map(({ table, column }) => ({ table, column })),
        actions: actions.filter((action) => own.has(action)),
      },
    ];
  });
}
