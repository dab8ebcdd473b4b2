import type { Runner } from "../../model/policy/migration-runner";
import type { CheckOptions, MigrationFile } from "../finding";
import { type Lexed, lex, type Range } from "../lexer";
import { isPrismas, popName, runnerOfName, undoes } from "./names";
import { isRailsLog, type RailsLog, readRailsLog } from "./rails-log";
import { type Delivery, deliveryOf } from "./runner";

export interface Layout {
  runner: Runner;
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

type AnnotatedRunner = "goose" | "dbmate" | "sql-migrate";

/** A line of each, in the comments that open its sections: a verb, and what follows it. */
const ANNOTATIONS: Readonly<Record<AnnotatedRunner, RegExp>> = {
  goose: /^--\s*\+goose\s+(.*?)\s*()$/i,
  dbmate: /^--\s*migrate:(up|down)\b(.*)$/i,
  "sql-migrate": /^-- \+migrate\s+(\S+)(.*)$/i,
};
const ANNOTATION_LINE = /^--\s*(?:\+goose\s|migrate:(?:up|down)|\+migrate\s)/gim;
const FLYWAY_PLACEHOLDER = /\$\{[^}\n]+\}/;
/** sqlx looks at the first letters of a file only. */
const SQLX_ALONE = /^-- no-transaction/;
const POSTGRES_MIGRATIONS_ALONE = /^\s*--\s*postgres-migrations disable-transaction/m;
const DIESEL_ALONE = /^\s*run_in_transaction\s*=\s*false\b/m;
const FLYWAY_ALONE = /^\s*executeInTransaction\s*=\s*false\b/m;
/** Django heads what each operation does so; of a migration that is not atomic, nothing comes before the first one. */
const DJANGO_HEADING = /^\s*BEGIN;\s*--\r?\n-- \S.*\r?\n--\r?\n/;
/** Others head so, too, such as pg_dump: without BEGIN, only Django's own words tell. */
const DJANGO_OPERATION =
  /^\s*--\r?\n-- (?:(?:Create|Delete|Rename) model |Rename table for |(?:Add|Remove|Alter|Rename) field |(?:Concurrently )?(?:create|remove) index |Rename (?:unnamed )?index |(?:Create|Remove|Alter|Validate|Create not valid) constraint |Creates extension |Raw (?:SQL|Python) operation\r?\n|Custom state\/database change combination\r?\n)/i;
const BYTE_ORDER_MARK = "\ufeff";
/** The name of what comes by standard input, whose form alone tells where it is from. */
export const STANDARD_INPUT = "-";

type How = Pick<CheckOptions, "transaction" | "runner">;

/** Tells whose a file is, by its name and annotations, and what of it leads to the next release. */
export function readLayout({ path, sql, settings = "" }: MigrationFile, how: How): Layout {
  const text = sql.startsWith(BYTE_ORDER_MARK) ? ` ${sql.slice(1)}` : sql;
  if (undoes(path))
    return { ...layoutOf(how.runner ?? "plain", text, false, how), skipped: "it undoes another migration" };
  const annotated = annotatedLayout(text, how);
  if (annotated) return annotated;
  const runner = how.runner ?? runnerOf(path, text);
  if (runner === "rails") {
    const log = readRailsLog(text);
    return { ...layoutOf(runner, log.text, false, how), problems: log.unread.map(unreadLine) };
  }
  const layout = layoutOf(runner, text, isAlone(runner, path, text, settings), how);
  return runner === "flyway" ? { ...layout, problems: placeholderOf(text) } : layout;
}

function layoutOf(runner: Runner, text: string, alone: boolean, { transaction }: How): Layout {
  return { runner, text, delivery: deliveryOf(runner, alone, transaction), groups: [], problems: [] };
}

function runnerOf(path: string, text: string): Runner {
  if (path === STANDARD_INPUT) {
    if (DJANGO_HEADING.test(text) || DJANGO_OPERATION.test(text)) return "django";
    return isRailsLog(text) ? "rails" : "plain";
  }
  const named = runnerOfName(path);
  if ((named === undefined || named === "golang-migrate") && SQLX_ALONE.test(text)) return "sqlx";
  if (named !== undefined && (named !== "prisma" || isPrismas(path))) return named;
  return POSTGRES_MIGRATIONS_ALONE.test(text) ? "postgres-migrations" : "plain";
}

/** Whether a file says that no transaction is opened around it. */
function isAlone(runner: Runner, path: string, text: string, settings: string): boolean {
  switch (runner) {
    case "sqlx":
      return SQLX_ALONE.test(text);
    case "postgres-migrations":
      return POSTGRES_MIGRATIONS_ALONE.test(text);
    case "diesel":
      return DIESEL_ALONE.test(settings);
    case "flyway":
      return FLYWAY_ALONE.test(settings);
    case "pop":
      return popName(path)?.autocommit === true;
    default:
      return false;
  }
}

const unreadLine = ({ at, line }: RailsLog["unread"][number]): LayoutProblem => ({
  at,
  message: `no statement of Rails' log is found in ${JSON.stringify(line.trim())}, so what runs can't be known from it`,
  fix: "Log to standard output at the level debug, without tags or prefixes: ActiveRecord::Base.logger = Logger.new($stdout)",
});

function placeholderOf(text: string): LayoutProblem[] {
  const placeholder = FLYWAY_PLACEHOLDER.exec(text);
  return placeholder
    ? [
        {
          at: placeholder.index,
          message: `Flyway puts a value in the place of ${placeholder[0]}, so what runs can't be known from the file`,
          fix: "Write the value itself.",
        },
      ]
    : [];
}

interface Annotation {
  range: Range;
  runner: AnnotatedRunner;
  verb: string;
  rest: string;
}

function annotatedLayout(text: string, how: How): Layout | undefined {
  const lines = [...text.matchAll(ANNOTATION_LINE)];
  if (lines.length === 0) return undefined;
  const lexed = lex(text);
  const all = lexed.lineComments.flatMap((range) => annotationAt(text, range));
  const annotations = how.runner === undefined ? all : all.filter(({ runner }) => runner === how.runner);
  const runner = annotations[0]?.runner;
  if (runner === undefined || !opens(annotations, lexed)) return undefined;
  const mine = annotations.filter((annotation) => annotation.runner === runner);
  const hidden = lines.filter((line) => !all.some(({ range }) => range.start === line.index));
  const problems: LayoutProblem[] = hidden.map((line) => ({
    at: line.index,
    message: `${runner} reads line by line and takes this line for an annotation, though it is inside of a text or comment`,
    fix: "Move the line out of the text or comment, or write it differently.",
  }));
  for (const { range, verb } of mine)
    if (verb === "envsub on")
      problems.push({
        at: range.start,
        message: "goose puts environment variables into what follows, so what runs can't be known from the file",
        fix: "Write the values themselves.",
      });
  const alone = mine.some(({ verb, rest }) =>
    runner === "goose"
      ? verb === "no transaction"
      : verb === "up" && /\b(?:transaction:false|notransaction)\b/i.test(rest),
  );
  return { ...layoutOf(runner, text, alone, how), ...cut(text, mine), problems };
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
  for (const [runner, form] of Object.entries(ANNOTATIONS)) {
    const found = form.exec(line);
    if (found)
      return [{ range, runner: runner as AnnotatedRunner, verb: (found[1] ?? "").toLowerCase(), rest: found[2] ?? "" }];
  }
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
