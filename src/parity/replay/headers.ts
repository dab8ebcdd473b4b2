import { readFile } from "node:fs/promises";
import { headers as headersSchema } from "../../model/parity/request";
import { issueMessage } from "../../model/types/messages";

const FROM_ENV = "env:";

/**
 * Headers from a file, or from an environment variable (`env:NAME`), never from the command line, which everybody on the
 * host can see. They are a JSON object, or one `Name: value` a line. Messages never show a value.
 *
 * @throws Error in one sentence, beginning with what was wrong
 */
export async function readHeaders(
  source: string,
  env: Record<string, string | undefined>,
): Promise<Record<string, string>> {
  const text = await textOf(source, env);
  const parsed = headersSchema.safeParse(
    text.trimStart().startsWith("{") ? fromJson(text, source) : fromLines(text, source),
    { error: issueMessage },
  );
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => [...path, message].join(": "));
  throw new Error(`${source}: ${problems.join("; ")}`);
}

async function textOf(source: string, env: Record<string, string | undefined>): Promise<string> {
  if (!source.startsWith(FROM_ENV)) {
    // Do not print it: a text in the place of a file's name may be the secret itself.
    if (/[:\s]/.test(source))
      throw new Error('the headers are given by the name of a file, or by "env:NAME", and never as they are');
    return readFile(source, "utf8");
  }
  const name = source.slice(FROM_ENV.length);
  const value = env[name];
  if (value === undefined || value.trim() === "") throw new Error(`the environment variable ${name} is empty: set it`);
  return value;
}

function fromJson(text: string, source: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's own message shows parts of the text.
    throw new Error(`${source} begins with "{" and is not JSON: write {"name": "value"}`);
  }
}

function fromLines(text: string, source: string): Record<string, string> {
  const entries = text.split(/\r?\n/).flatMap((line, index): [string, string][] => {
    if (line.trim() === "") return [];
    const colon = line.indexOf(":");
    if (colon < 1) throw new Error(`${source}, line ${index + 1}: has no ":": write "Name: value"`);
    return [[line.slice(0, colon).trim(), line.slice(colon + 1).trim()]];
  });
  return Object.fromEntries(entries);
}
