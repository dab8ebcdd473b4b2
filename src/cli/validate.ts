import { fork } from "node:child_process";
import { access, readdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { Command } from "commander";
import { parse } from "yaml";
import { z } from "zod";
import { safeJson } from "../model/types/safe-text";
import { EXIT, type ExitCode, type Terminal, UsageError } from "./common/exit";
import { unknownName } from "./common/nearest";
import { type TextStyle, textStyleOf, toned, wrapped } from "./common/screen";
import { counted } from "./common/units";

const declared = z.strictObject({
  type: z.string(),
  name: z.string(),
  problems: z.array(z.strictObject({ path: z.string(), message: z.string() })),
});

const answer = z.strictObject({
  resources: z.array(declared).describe("resources of Sluice"),
  failure: z.string().optional().describe("error with which the program itself ended"),
});

/** Document of `sluice validate --json`. */
export const validateDocument = answer.extend({ project: z.string(), stack: z.string() });
type ValidateDocument = z.output<typeof validateDocument>;

const DETAILS = `
The program runs as pulumi preview would run it, but without an engine, a provider or a host: what the hosts say to it is the
preview's matter. Encrypted config values are replaced by a text. Other providers' resources are taken as they are. A program
that logs an error, sets an exit code, or waits for something that never comes is not good, since an update fails by it.`;

interface Given {
  project?: string;
  json?: boolean;
}

/** `sluice validate`: what a stack declares, checked without an agent. */
export function validateCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return new Command("validate")
    .description("Checks what a stack's program declares, without an engine or an agent.")
    .argument("[stack]", "name of the stack (default: the only one that has a config file)")
    .option("--project <folder>", "folder with Pulumi.yaml (default: the nearest one, upwards)")
    .option("--json", "print JSON (schema: docs/cli.md)")
    .addHelpText("after", DETAILS)
    .action(async (stack: string | undefined, given: Given) => finish(await validate(stack, given, terminal)));
}

async function validate(named: string | undefined, given: Given, terminal: Terminal): Promise<ExitCode> {
  const project = await projectFolder(given.project);
  const stack = await chooseStack(project, named);
  const document: ValidateDocument = { project, stack, ...(await run(project, stack, terminal)) };
  terminal.stdout.write(given.json ? `${safeJson(document, 2)}\n` : validateText(document, textStyleOf(terminal)));
  const good = document.failure === undefined && document.resources.every(({ problems }) => problems.length === 0);
  return good ? EXIT.good : EXIT.problems;
}

async function projectFolder(given: string | undefined): Promise<string> {
  const start = resolve(given ?? ".");
  for (let folder = start; ; folder = dirname(folder)) {
    const there = await access(join(folder, "Pulumi.yaml")).then(
      () => true,
      () => false,
    );
    if (there) return folder;
    if (given !== undefined || folder === dirname(folder))
      throw new UsageError([
        `there is no Pulumi.yaml ${given === undefined ? "at or above" : "in"} ${start}: name the project's folder with --project`,
      ]);
  }
}

async function chooseStack(project: string, named: string | undefined): Promise<string> {
  const manifest = parse(await readFile(join(project, "Pulumi.yaml"), "utf8")) as { stackConfigDir?: string } | null;
  const folder = join(project, manifest?.stackConfigDir ?? ".");
  const stacks = (await readdir(folder)).flatMap((file) => /^Pulumi\.(.+)\.yaml$/.exec(file)?.[1] ?? []).toSorted();
  const [only, ...others] = stacks;
  if (named !== undefined && !stacks.includes(named)) throw new UsageError([unknownName("stack", named, stacks)]);
  if (named !== undefined) return named;
  if (only === undefined) throw new UsageError([`there is no stack in ${folder}: create one with pulumi stack init`]);
  if (others.length > 0)
    throw new UsageError([`there are several stacks in ${folder} (${stacks.join(", ")}): name one`]);
  return only;
}

/** The checkout that this command was bundled from. */
const ROOT = resolve(__dirname, "../..");

/** Runs the program in a process of its own; what it prints goes to standard error. */
function run(project: string, stack: string, { stderr }: Terminal): Promise<z.output<typeof answer>> {
  const tsx = pathToFileURL(createRequire(join(ROOT, "package.json")).resolve("tsx")).href;
  return new Promise((done, reject) => {
    const child = fork(join(ROOT, "src", "provider", "validate", "main.ts"), [project, stack], {
      execArgv: ["--import", tsx],
      cwd: ROOT,
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    child.stdout?.on("data", (text) => stderr.write(text));
    child.stderr?.on("data", (text) => stderr.write(text));
    let result: z.output<typeof answer> | undefined;
    child.on("message", (message) => {
      result = answer.parse(message);
    });
    child.on("error", reject);
    child.on("close", (code, signal) => {
      const how = signal ?? `exit code ${code}`;
      if (result === undefined) done({ resources: [], failure: `it ended early (${how})` });
      else if (code !== 0) done({ failure: `it ended with ${how}: see its output`, ...result });
      else done(result);
    });
  });
}

function validateText({ stack, resources, failure }: ValidateDocument, style: TextStyle): string {
  const bad = resources.filter(({ problems }) => problems.length > 0);
  const lines = bad.flatMap(({ type, name, problems }) => [
    toned(`${type.split(":").at(-1)} ${name}`, "strong", style),
    ...problems.flatMap(({ path, message }) =>
      wrapped(`${path === "" ? "" : `${path}: `}${message}`, style.width - 2, "  ").map((line) => `  ${line}`),
    ),
  ]);
  const count = bad.reduce((sum, { problems }) => sum + problems.length, 0);
  const failed =
    failure === undefined
      ? []
      : [
          toned("the program failed", "bad", style),
          ...failure.split("\n").flatMap((line) => wrapped(line, style.width - 2).map((part) => `  ${part}`)),
        ];
  const verdict =
    count > 0
      ? toned(counted(count, "problem"), "bad", style)
      : failure === undefined
        ? toned("all good", "good", style)
        : "";
  const summary =
    verdict === "" ? [] : [`${verdict}  stack ${stack}, ${counted(resources.length, "resource")} of Sluice`];
  return `${[...failed, ...summary, ...(lines.length > 0 ? [""] : []), ...lines].join("\n")}\n`;
}
