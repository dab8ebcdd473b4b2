import { endOfBlockComment, endOfComment, lex } from "../../lexer";
import { excerpt, type SourceText } from "../../text";
import type { FileStatement, SourcePosition } from "./context";
import { type Parser, SyntaxProblem } from "./parser";

/** A reason why a file, or a part of it, can't be judged. */
export interface StatementProblem {
  kind: "syntax-error" | "psql-command";
  message: string;
  fix: string;
  /** The part of the file that can't be read. */
  text: string;
  place: SourcePosition;
}

export interface ReadStatements {
  statements: FileStatement[];
  problems: StatementProblem[];
}

/** The statements of a file. What the parser refuses as a whole is cut up first, so that the rest is judged still. */
export function readStatements(parser: Parser, source: SourceText): ReadStatements {
  try {
    return { statements: parsePart(parser, source, 0, source.text.length), problems: [] };
  } catch (error) {
    if (!(error instanceof SyntaxProblem)) throw error;
    return readParts(parser, source, error);
  }
}

function parsePart(parser: Parser, source: SourceText, from: number, to: number): FileStatement[] {
  const whole = from === 0 && to === source.text.length;
  const part = whole ? source : source.part(from, to);
  return parser.parse(part.text).map(({ node, startByte, endByte }) => {
    const own = skipBlank(part.text, part.unitOfByte(startByte));
    const end = part.unitOfByte(endByte);
    const text = part.text.slice(own, end);
    return {
      node,
      startByte,
      endByte,
      start: from + own,
      text,
      indexOf: (location) => Math.max(0, part.unitOfByte(location) - own),
      // Most statements are found to be good, and then nobody asks where they stand.
      get place() {
        return { ...source.position(from + own), statement: excerpt(text) };
      },
    };
  });
}

function readParts(parser: Parser, source: SourceText, whole: SyntaxProblem): ReadStatements {
  const lexed = lex(source.text, (statement) => copiesFromInput(parser, statement));
  const statements: FileStatement[] = [];
  const problems: StatementProblem[] = lexed.metaCommands.map(({ start, end }) => ({
    kind: "psql-command",
    message: "only psql knows this command",
    fix: "Remove it, and write plain SQL.",
    text: source.text.slice(start, end),
    place: { ...source.position(start), statement: excerpt(source.text.slice(start, end)) },
  }));
  for (const { start, end } of lexed.statements) {
    try {
      statements.push(...parsePart(parser, source, start, end));
    } catch (error) {
      if (!(error instanceof SyntaxProblem)) throw error;
      problems.push({
        kind: "syntax-error",
        message: `PostgreSQL's parser says: ${error.message}`,
        fix: "Correct it; variables and templates must be filled in first.",
        text: source.text.slice(start, end),
        place: { ...source.position(start), statement: excerpt(source.text.slice(start, end)) },
      });
    }
  }
  // The data of COPY ... FROM STDIN is no SQL, and nothing else that was cut out may go unsaid.
  if (problems.length === 0 && !lexed.hasCopyData)
    problems.push({
      kind: "syntax-error",
      message: `PostgreSQL's parser says: ${whole.message}`,
      fix: "Correct it.",
      text: source.text,
      place: { ...source.position(source.unitOfCodePoint(whole.at)), statement: excerpt(source.text) },
    });
  return { statements, problems };
}

/** Told by the parser: a text that merely looks like it must not make SQL after it pass for data. */
function copiesFromInput(parser: Parser, statement: string): boolean {
  try {
    const [first] = parser.parse(statement);
    const copy = first && "CopyStmt" in first.node ? first.node.CopyStmt : undefined;
    return copy?.is_from === true && copy.filename === undefined && copy.is_program !== true;
  } catch (error) {
    if (error instanceof SyntaxProblem) return false;
    throw error;
  }
}

/** The parser counts white space and comments before a statement to it. */
function skipBlank(text: string, from: number): number {
  let at = from;
  for (;;) {
    if (/\s/.test(text[at] ?? "")) at++;
    else if (text.startsWith("--", at)) at = endOfComment(text, at);
    else if (text.startsWith("/*", at)) at = endOfBlockComment(text, at);
    else return at;
  }
}
