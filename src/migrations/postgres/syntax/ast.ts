import type { A_Const, DefElem, Node } from "libpg-query";

/** A node's kind and its content: the parser wraps each one in an object with its kind as the only key. */
export function unwrap(node: Node): [kind: string, body: Record<string, unknown>] {
  const kind = Object.keys(node)[0] ?? "";
  return [kind, (node as unknown as Record<string, Record<string, unknown>>)[kind] ?? {}];
}

/**
 * Every object in a tree, with the key that it hangs on, without recursion: a hostile text can nest deeply.
 * @param visit returns false to leave out what is below
 */
export function walk(root: unknown, visit: (kind: string, body: Record<string, unknown>) => boolean | undefined): void {
  const stack: [string, unknown][] = [["", root]];
  for (let top = stack.pop(); top; top = stack.pop()) {
    const [kind, value] = top;
    if (typeof value !== "object" || value === null) continue;
    if (Array.isArray(value)) {
      for (let index = value.length - 1; index >= 0; index--) stack.push(["", value[index]]);
      continue;
    }
    const body = value as Record<string, unknown>;
    if (visit(kind, body) === false) continue;
    const keys = Object.keys(body);
    for (let index = keys.length - 1; index >= 0; index--) {
      const key = keys[index] ?? "";
      stack.push([key, body[key]]);
    }
  }
}

/** Value of a constant; undefined if the node is no constant, null for SQL's NULL. */
export function constantOf({ isnull, boolval, ival, fval, sval, bsval }: A_Const): string | null {
  if (isnull) return null;
  if (boolval) return String(boolval.boolval ?? false);
  if (ival) return String(ival.ival ?? 0);
  if (fval) return fval.fval ?? "";
  if (sval) return sval.sval ?? "";
  return bsval?.bsval ?? "";
}

/** Under casts, collations and the like, what is cast. */
export function stripCasts(node: Node): Node {
  let inner = node;
  for (;;) {
    if ("TypeCast" in inner && inner.TypeCast.arg) inner = inner.TypeCast.arg;
    else if ("CollateClause" in inner && inner.CollateClause.arg) inner = inner.CollateClause.arg;
    else return inner;
  }
}

/** A column's name, qualified or not; undefined for anything else. */
export function columnOf(node: Node | undefined): string | undefined {
  if (node === undefined || !("ColumnRef" in node)) return undefined;
  const last = node.ColumnRef.fields?.at(-1);
  return last && "String" in last ? last.String.sval : undefined;
}

/** The columns that an expression names. */
export function columnsIn(node: unknown): Set<string> {
  const found = new Set<string>();
  walk(node, (kind, body) => {
    if (kind === "ColumnRef") {
      const name = columnOf({ ColumnRef: body } as Node);
      if (name !== undefined) found.add(name);
    }
    return undefined;
  });
  return found;
}

/** The options of a statement by name, in lower case. */
export function optionsOf(nodes: readonly Node[] | undefined): Map<string, DefElem> {
  const options = new Map<string, DefElem>();
  for (const node of nodes ?? [])
    if ("DefElem" in node) options.set((node.DefElem.defname ?? "").toLowerCase(), node.DefElem);
  return options;
}

/** Whether an option is there and not switched off, as in `(CONCURRENTLY false)`. */
export function isOn(option: DefElem | undefined): boolean {
  if (option === undefined) return false;
  return !["false", "off", "0", "no"].includes((optionText(option) ?? "").toLowerCase());
}

export function optionText({ arg }: DefElem): string | undefined {
  if (arg === undefined) return undefined;
  if ("String" in arg) return arg.String.sval ?? "";
  if ("Integer" in arg) return String(arg.Integer.ival ?? 0);
  if ("Boolean" in arg) return String(arg.Boolean.boolval ?? false);
  if ("A_Const" in arg) return constantOf(arg.A_Const) ?? undefined;
  if ("TypeName" in arg) {
    const last = arg.TypeName.names?.at(-1);
    return last && "String" in last ? last.String.sval : undefined;
  }
  return undefined;
}

export function canonical(node: unknown): string {
  return JSON.stringify(node, (key, value: unknown) => {
    if (key === "location" || key === "rexpr_list_start" || key === "rexpr_list_end") return undefined;
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      const stripped = stripCasts(value as Node);
      // A qualified column is the same as a bare one: these are expressions over one table.
      const column = columnOf(stripped);
      return column === undefined ? stripped : { column };
    }
    return value;
  });
}
