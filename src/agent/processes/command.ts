import { constants, readFileSync } from "node:fs";
import { access, stat } from "node:fs/promises";
import { delimiter, isAbsolute, resolve } from "node:path";
import { codeOf } from "../../model/types/errors";
import { INSTANCE_VARIABLE, MARKER_VARIABLE } from "./identity";
import { SHELL_OWN_VARIABLES } from "./shim";

/** Names that a shell passes on; others it drops silently. */
const VARIABLE_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Of one argument or variable with its end: 32 pages. */
const TEXT_BYTES = 131_072;
/** Of all together, whatever the limit of the stack says. */
const [LEAST_BYTES, MOST_BYTES] = [131_072, 6 * 1024 * 1024];
const POINTER_BYTES = 8;
/** For the shim's own arguments, the variables that are added, and the program's name. */
const OWN_BYTES = 16 * 1024;

export interface Command {
  argv: string[];
  cwd: string;
  env: Record<string, string>;
}

/** The complete environment of a process: what was asked for, then the variables by which it is found again. */
export function environmentOf(
  spec: { env: Record<string, string>; secretEnv?: Record<string, string> },
  { marker, id }: { marker: string; id: string },
): Record<string, string> {
  return { ...spec.env, ...spec.secretEnv, [MARKER_VARIABLE]: marker, [INSTANCE_VARIABLE]: id };
}

/**
 * Why the kernel would not pass a program its arguments and environment (E2BIG), by its limits for this process's children:
 * one text has at most 128 KiB, and all of them a quarter of the stack.
 */
export function sizeProblem({ argv, env }: Pick<Command, "argv" | "env">): string | undefined {
  const texts = [
    ...Object.entries(env).map(([name, value]) => ({ subject: `variable ${name}`, text: `${name}=${value}` })),
    ...argv.map((text, index) => ({ subject: `argv[${index}]`, text })),
  ].map(({ subject, text }) => ({ subject, bytes: Buffer.byteLength(text) + 1 }));
  const remedy = "pass what is large in a file";
  const large = texts.find(({ bytes }) => bytes > TEXT_BYTES);
  if (large !== undefined)
    return `${large.subject} has ${large.bytes} bytes, and the kernel passes at most ${TEXT_BYTES} in one text: ${remedy}`;
  const total = texts.reduce((sum, { bytes }) => sum + bytes + POINTER_BYTES, OWN_BYTES);
  const most = totalBytes();
  return total > most
    ? `arguments and environment have ${total} bytes, and the kernel passes at most ${most} to a program: ${remedy}`
    : undefined;
}

function totalBytes(): number {
  const soft = /^Max stack size +(\d+|unlimited)/m.exec(readFileSync("/proc/self/limits", "latin1"))?.[1];
  const quarter = soft === undefined || soft === "unlimited" ? MOST_BYTES : Number(soft) / 4;
  return Math.max(LEAST_BYTES, Math.min(quarter, MOST_BYTES));
}

/** Everything that would keep the command from starting, as far as can be known before; values of variables are not shown. */
export async function problemsOf({ argv, cwd, env }: Command): Promise<string[]> {
  const tooBig = sizeProblem({ argv, env });
  const problems = [...argumentProblems(argv), ...variableProblems(env), ...(tooBig === undefined ? [] : [tooBig])];
  const folder = await folderProblem(cwd);
  if (folder !== undefined) return [...problems, folder];
  const executable = problems.length === 0 ? await executableProblem(argv[0] ?? "", cwd, env.PATH) : undefined;
  return executable === undefined ? problems : [...problems, executable];
}

function argumentProblems(argv: string[]): string[] {
  const [name = ""] = argv;
  const problems = argv.flatMap((text, i) => (text.includes("\0") ? [`argv[${i}] holds a NUL byte; remove it`] : []));
  if (name === "") problems.push("argv[0] is empty; it must name a program");
  if (name.startsWith("-")) problems.push(`argv[0] is ${name}; give a program whose name starts with "-" by its path`);
  return problems;
}

function variableProblems(env: Record<string, string>): string[] {
  return Object.entries(env).flatMap(([name, value]) => {
    if (!VARIABLE_NAME.test(name))
      return [`env has the name ${JSON.stringify(name)}; use letters, digits and _ only, no digit first`];
    if (SHELL_OWN_VARIABLES.includes(name)) return [`env sets ${name}, which /bin/sh keeps to itself; leave it out`];
    return value.includes("\0") ? [`env.${name} holds a NUL byte; remove it`] : [];
  });
}

async function folderProblem(cwd: string): Promise<string | undefined> {
  if (!isAbsolute(cwd)) return `cwd ${JSON.stringify(cwd)} is not an absolute path; give one`;
  try {
    if (!(await stat(cwd)).isDirectory()) return `cwd ${cwd} is not a directory; give the folder to run in`;
    await access(cwd, constants.X_OK);
    return undefined;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return `cwd ${cwd} does not exist; create it first`;
    return `cwd ${cwd} cannot be entered (${codeOf(error)}); change its permissions`;
  }
}

/**
 * Looks the program up as exec will: by path if it has a slash, else along PATH, whose empty entries mean cwd, and where
 * folders that may not be entered are passed over.
 */
async function executableProblem(name: string, cwd: string, path: string | undefined): Promise<string | undefined> {
  if (name.includes("/")) {
    const problem = await fileProblem(resolve(cwd, name));
    return problem && `argv[0] ${name} ${problem}`;
  }
  if (path === undefined)
    return `argv[0] ${name} has no slash and env has no PATH to find it by; give its path or a PATH`;
  const problems = await Promise.all(path.split(delimiter).map((folder) => fileProblem(resolve(cwd, folder, name))));
  if (problems.includes(undefined)) return undefined;
  const denied = problems.find((problem) => problem !== MISSING && problem !== UNREACHABLE);
  return denied === undefined
    ? `argv[0] ${name} is in no folder of PATH (${path}); install it, or give its path`
    : `argv[0] ${name}, as found along PATH (${path}), ${denied}`;
}

const MISSING = "does not exist; check the path";
const UNREACHABLE = "cannot be reached (EACCES); change the permissions of the folders above it";

async function fileProblem(file: string): Promise<string | undefined> {
  try {
    if (!(await stat(file)).isFile()) return "is not a file; give the program's own path";
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT" || code === "ENOTDIR") return MISSING;
    return code === "EACCES" ? UNREACHABLE : `cannot be read (${code}); check the path`;
  }
  try {
    await access(file, constants.X_OK);
    return undefined;
  } catch (error) {
    return codeOf(error) === "EACCES" ? "is not executable; chmod +x it" : `cannot be executed (${codeOf(error)})`;
  }
}
