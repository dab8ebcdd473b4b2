import { compareVersions } from "../model/types/version";
import type { TransactionMode } from "./finding";
import { type Lexed, lex, type Range } from "./lexer";

/**
 * How the statements of a file reach the server: `transaction` in one that the runner opens, `each` one by one on their
 * own, `at-once` as one string, which the server runs as one transaction unless the string says otherwise.
 */
export type Delivery = "transaction" | "each" | "at-once";

export interface Layout {
  runner: "plain" | "goose" | "dbmate" | "up-down" | "flyway";
  /** Why the file is none of those that lead to the next release. */
  skipped?: string;
  /** The file's text with everything but its way up blanked, so that places stay as they are. */
  text: string;
  delivery: Delivery;
  /** Statements inside the same one are sent as one string. Only where they are sent one by one. */
  groups: readonly Range[];
  problems: readonly LayoutProblem[];
}

export interface LayoutProblem {
  at: number;
  message: string;
  fix: string;
}

const UNDO_NAME = /(?:\.(?:down|undo|rollback)\.sql|^down\.sql)$/i;
const UP_NAME = /(?:\.up\.sql|^up\.sql)$/i;
const FLYWAY_NAME = /^([VUBR])([0-9][0-9._]*)?__.*\.sql$/i;
const GOOSE = /^--\s*\+goose\s+(.*?)\s*$/i;
const DBMATE = /^--\s*migrate:(up|down)\b(.*)$/i;
const ANNOTATION_LINE = /^--\s*(?:\+goose\s|migrate:(?:up|down))/gim;
const FLYWAY_PLACEHOLDER = /\$\{[^}\n]+\}/;
const BYTE_ORDER_MARK = "\ufeff";

/** Tells from a file's name and annotations which runner's it is, and what of it leads to the next release. */
export function readLayout(path: string, sql: string, transaction: TransactionMode): Layout {
  const name = nameOf(path);
  const text = sql.startsWith(BYTE_ORDER_MARK) ? ` ${sql.slice(1)}` : sql;
  const delivery: Delivery = transaction === "per-file" ? "transaction" : "each";
  const layout: Layout = { runner: "plain", text, delivery, groups: [], problems: [] };
  const flyway = FLYWAY_NAME.exec(name);
  if (undoes(path)) return { ...layout, skipped: "it undoes another migration" };
  const annotated = annotatedLayout(layout);
  if (annotated) return annotated;
  if (flyway) return flywayLayout(layout);
  // Its runners send the whole file as one string, whether or not they open a transaction around it.
  if (UP_NAME.test(name)) return { ...layout, runner: "up-down", ...(delivery === "each" && { delivery: "at-once" }) };
  return layout;
}

const nameOf = (path: string): string => path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1);

/** Whether a file leads back, by its name: it is never judged. */
export function undoes(path: string): boolean {
  const name = nameOf(path);
  return UNDO_NAME.test(name) || FLYWAY_NAME.exec(name)?.[1]?.toUpperCase() === "U";
}

function flywayLayout(layout: Layout): Layout {
  const placeholder = FLYWAY_PLACEHOLDER.exec(layout.text);
  const problems = placeholder
    ? [
        {
          at: placeholder.index,
          message: `Flyway puts a value in the place of ${placeholder[0]}, so what runs can't be known from the file`,
          fix: "Write the value itself.",
        },
      ]
    : [];
  return { ...layout, runner: "flyway", problems };
}

interface Annotation {
  range: Range;
  runner: "goose" | "dbmate";
  verb: string;
  rest: string;
}

function annotatedLayout(layout: Layout): Layout | undefined {
  const lines = [...layout.text.matchAll(ANNOTATION_LINE)];
  if (lines.length === 0) return undefined;
  const lexed = lex(layout.text);
  const annotations = lexed.lineComments.flatMap((range) => annotationAt(layout.text, range));
  const first = annotations[0];
  if (first === undefined || !opens(annotations, lexed)) return undefined;
  const mine = annotations.filter(({ runner }) => runner === first.runner);
  const hidden = lines.filter((line) => !annotations.some(({ range }) => range.start === line.index));
  const problems: LayoutProblem[] = hidden.map((line) => ({
    at: line.index,
    message: `${first.runner} reads line by line and takes this line for an annotation, though it is inside of a text or comment`,
    fix: "Move the line out of the text or comment, or write it differently.",
  }));
  for (const { range, verb } of mine)
    if (verb === "envsub on")
      problems.push({
        at: range.start,
        message: "goose puts environment variables into what follows, so what runs can't be known from the file",
        fix: "Write the values themselves.",
      });
  const { text, groups } = cut(layout.text, mine);
  const alone = mine.some(({ verb, rest }) =>
    first.runner === "goose" ? verb === "no transaction" : verb === "up" && /\btransaction:false\b/i.test(rest),
  );
  // goose sends each statement by itself, dbmate all of them as one string.
  const delivery = !alone ? layout.delivery : first.runner === "goose" ? "each" : "at-once";
  const batches = first.runner === "dbmate" && delivery === "each" ? "at-once" : delivery;
  return { ...layout, runner: first.runner, text, groups, delivery: batches, problems };
}

/** Only a file that an annotation opens is one of that runner's: elsewhere the line is a mere comment. */
function opens(annotations: Annotation[], { statements, metaCommands }: Lexed): boolean {
  const up = annotations.find(({ verb }) => verb === "up");
  if (up === undefined) return false;
  return [...statements, ...metaCommands].every(({ start }) => start > up.range.start);
}

function annotationAt(text: string, range: Range): Annotation[] {
  if (range.start > 0 && text[range.start - 1] !== "\n") return [];
  const line = text.slice(range.start, range.end).trimEnd();
  const goose = GOOSE.exec(line);
  if (goose) return [{ range, runner: "goose", verb: (goose[1] ?? "").toLowerCase(), rest: "" }];
  const dbmate = DBMATE.exec(line);
  if (dbmate) return [{ range, runner: "dbmate", verb: (dbmate[1] ?? "").toLowerCase(), rest: dbmate[2] ?? "" }];
  return [];
}

/** Blanks what is not on the way up, and finds what is sent as one. */
function cut(text: string, annotations: Annotation[]): { text: string; groups: Range[] } {
  const groups: Range[] = [];
  let kept = "";
  let up = false;
  let at = 0;
  let groupStart: number | undefined;
  const take = (to: number) => {
    const part = text.slice(at, to);
    kept += up ? part : part.replace(/[^\n]/g, " ");
    at = to;
  };
  for (const { verb, range } of annotations) {
    take(range.start);
    if (verb === "up") up = true;
    if (verb === "down") up = false;
    if (verb === "statementbegin") groupStart = range.start;
    if (verb === "statementend" && groupStart !== undefined) {
      groups.push({ start: groupStart, end: range.end });
      groupStart = undefined;
    }
  }
  take(text.length);
  return { text: kept, groups };
}

/** The files that lead to the next release, in the order of their versions. */
export function orderMigrations(paths: readonly string[]): string[] {
  return paths.filter((path) => /\.sql$/i.test(path)).sort(compareVersions);
}
