import type * as Pg from "libpg-query";
import { constantText, textWithHoles } from "./constants";
import type { CodeContext } from "./context";

type Tree = Record<string, unknown>;

/** Callbacks for the contents of a body. */
export interface BodyVisitor {
  /** A statement, or an expression written as one. */
  statement(sql: string, line: number, context: CodeContext): void;
  /** EXECUTE of a text that is known at run time only; its shape is that text, with a name for all that is not known. */
  dynamic(sql: string, shape: string, line: number, context: CodeContext): void;
  parse(expression: string): Pg.Node | undefined;
  /** COMMIT or ROLLBACK. */
  end(back: boolean, line: number, context: CodeContext): void;
}

/** Statements whose parts may run, or may not, or many times. */
const BRANCHING = new Set([
  "PLpgSQL_stmt_if",
  "PLpgSQL_stmt_case",
  "PLpgSQL_stmt_loop",
  "PLpgSQL_stmt_while",
  "PLpgSQL_stmt_fori",
  "PLpgSQL_stmt_fors",
  "PLpgSQL_stmt_forc",
  "PLpgSQL_stmt_foreach_a",
  "PLpgSQL_stmt_dynfors",
]);
const WHOLE_STATEMENT = 0;
const EXPRESSION = 2;
const ASSIGNED = /^[^=]*?:?=/;

/** Goes through a body in the order of its text. */
export function readPlpgsql(tree: unknown, body: string, context: CodeContext, visitor: BodyVisitor): void {
  const functions = ((tree as Tree).plpgsql_funcs ?? []) as { PLpgSQL_function?: Tree }[];
  for (const { PLpgSQL_function: code } of functions) {
    if (code === undefined) continue;
    const datums = (code.datums ?? []) as Tree[];
    const variables = constantVariables(datums, code.action, body, visitor);
    const inner = { ...context, variables };
    // Defaults and cursors run before, and as often as, the body does.
    for (const datum of datums) visit(datum, 1, inner, visitor);
    visit(code.action, 1, inner, visitor);
  }
}

function visit(value: unknown, line: number, context: CodeContext, visitor: BodyVisitor): void {
  if (typeof value !== "object" || value === null) return;
  if (Array.isArray(value)) {
    for (const item of value) visit(item, line, context, visitor);
    return;
  }
  for (const [kind, part] of Object.entries(value)) {
    if (typeof part !== "object" || part === null) continue;
    const content = part as Tree;
    const at = typeof content.lineno === "number" ? content.lineno : line;
    if (kind === "PLpgSQL_expr") expression(content, at, context, visitor);
    else if (kind === "PLpgSQL_stmt_commit" || kind === "PLpgSQL_stmt_rollback")
      visitor.end(kind === "PLpgSQL_stmt_rollback", at, context);
    else if (kind === "PLpgSQL_stmt_dynexecute" || kind === "PLpgSQL_stmt_dynfors") {
      dynamic(content.query, at, context, visitor);
      const { query: _, ...rest } = content;
      visit(rest, at, kind === "PLpgSQL_stmt_dynfors" ? { ...context, conditional: true } : context, visitor);
    } else if (kind === "dynquery") dynamic(content, at, context, visitor);
    else {
      const caught = kind === "PLpgSQL_stmt_block" && content.exceptions !== undefined;
      const conditional = context.conditional || caught || BRANCHING.has(kind);
      visit(content, at, { ...context, conditional }, visitor);
    }
  }
}

function expression({ query, parseMode }: Tree, line: number, context: CodeContext, visitor: BodyVisitor): void {
  if (typeof query !== "string") return;
  if (parseMode === undefined || parseMode === WHOLE_STATEMENT) {
    visitor.statement(query, line, context);
    return;
  }
  const computed = parseMode === EXPRESSION ? query : query.replace(ASSIGNED, "");
  // Only what it calls matters.
  if (computed.includes("(")) visitor.statement(`SELECT ${computed}`, line, context);
}

function dynamic(holder: unknown, line: number, context: CodeContext, visitor: BodyVisitor): void {
  const query = ((holder as Tree).PLpgSQL_expr as Tree | undefined)?.query;
  if (typeof query !== "string") return;
  const parsed = visitor.parse(query);
  const text = constantText(parsed, context.variables);
  if (text === undefined) visitor.dynamic(query, textWithHoles(parsed, context.variables), line, context);
  else visitor.statement(text, line, context);
  if (query.includes("(")) visitor.statement(`SELECT ${query}`, line, context);
}

/** Variables that hold one text from their only assignment on. */
function constantVariables(
  datums: readonly Tree[],
  action: unknown,
  body: string,
  visitor: BodyVisitor,
): ReadonlyMap<string, string> {
  const given = new Map<string, (string | undefined)[]>();
  const note = (name: string, query: string | undefined) => given.set(name, [...(given.get(name) ?? []), query]);
  const declared = new Set<string>();
  for (const datum of datums) {
    const variable = datum.PLpgSQL_var as Tree | undefined;
    const name = variable?.refname;
    if (typeof name !== "string") continue;
    // Two of one name, in blocks inside of one another, are not told apart.
    if (declared.has(name)) note(name, undefined);
    declared.add(name);
    const start = (variable?.default_val as { PLpgSQL_expr?: Tree } | undefined)?.PLpgSQL_expr?.query;
    if (typeof start === "string") note(name, start);
  }
  collectAssignments(action, datums, note);
  const variables = new Map<string, string>();
  // In the order of their declaration, as later ones may be made of earlier ones.
  for (const [name, queries] of given) {
    const [query] = queries;
    if (!declared.has(name) || queries.length !== 1 || query === undefined) continue;
    // SELECT ... INTO and loops write to variables, too; what they are called is all that can be told.
    if (new RegExp(`\\b(?:into|for|foreach)\\b[^;]*\\b${name.replaceAll(/\W/g, "\\$&")}\\b`, "i").test(body)) continue;
    const text = constantText(visitor.parse(query), variables);
    if (text !== undefined) variables.set(name, text);
  }
  return variables;
}

function collectAssignments(
  value: unknown,
  datums: readonly Tree[],
  note: (name: string, query: string | undefined) => void,
): void {
  if (typeof value !== "object" || value === null) return;
  for (const [kind, part] of Object.entries(value)) {
    if (kind === "PLpgSQL_stmt_assign") {
      const { varno = 0, expr } = part as { varno?: number; expr?: { PLpgSQL_expr?: Tree } };
      const name = (datums[varno]?.PLpgSQL_var as Tree | undefined)?.refname;
      const query = expr?.PLpgSQL_expr?.query;
      if (typeof name === "string") note(name, typeof query === "string" ? query.replace(ASSIGNED, "") : undefined);
    } else collectAssignments(part, datums, note);
  }
}
