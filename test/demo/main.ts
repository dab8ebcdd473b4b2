/**
 * `npm run demo [-- NAME] [-- --open]`: a story of `stacks/NAME`, the plain demo where none is named, told by real commands
 * while a load runs all the time through the edge. Writes a report; exits with 1 when a step did not go as it should, or
 * when anything of the load was lost. `--open` shows the page with the evidence of the promotion in a browser.
 */

import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { constants } from "node:os";
import { parseArgs } from "node:util";
import { openFile } from "../../src/cli/evidence/open";
import { messageOf } from "../../src/model/types/errors";
import type { LoadReport } from "../load/report";
import { summarize } from "../load/report";
import { Demo } from "./demo";
import { guarded } from "./guarded";
import { lossOf } from "./loss";
import { createProject, foldersOf, MAIN_STORY, MARKER } from "./project";
import { elapsed, say, table, title } from "./screen";
import { loadStory, type Story } from "./story";

interface StepReport {
  name: string;
  command: string;
  exit: number | string;
  seconds: number;
}

/** How a story went. */
interface Told {
  steps: StepReport[];
  load?: LoadReport | undefined;
  problem?: string | undefined;
  page?: string | undefined;
}

class Interruption extends Error {
  constructor(readonly signal: NodeJS.Signals) {
    super(`interrupted by ${signal}`);
  }
}

const interrupted = new Promise<never>((_, reject) => {
  let isFirst = true;
  // A terminal, npm and the watchdog may all send one; only the first one counts.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.on(signal, () => {
      if (isFirst) say("\ninterrupted: ending what the demo started");
      isFirst = false;
      reject(new Interruption(signal));
    });
});
let exitCode = 1;
interrupted.catch(({ signal }: Interruption) => {
  exitCode = 128 + constants.signals[signal];
});

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({ options: { open: { type: "boolean" } }, allowPositionals: true });
  const [name = MAIN_STORY] = positionals;
  const story = await loadStory(name);
  const result = await guarded(name, () => tell(name, story));
  finish(name, result);
  if (result.problem === undefined) exitCode = 0;
  if (values.open && result.page !== undefined && !(await openFile(result.page, process.env)))
    say("there is no screen to open it on");
}

async function tell(name: string, story: Story): Promise<Told> {
  const project = await createProject(name, story);
  // For everything that is started from here on, the load included.
  process.env[MARKER] = project.folder;
  const demo = new Demo(project, story.load);
  const result: Told = { steps: [] };
  const { steps } = result;
  try {
    for (const { name, run } of story.steps) {
      title(`${steps.length + 1}. ${name}`);
      const startedAt = elapsed();
      const done = await Promise.race([run(demo), interrupted]);
      result.load = done.load;
      steps.push({ name, command: done.command, exit: done.exit, seconds: rounded(elapsed() - startedAt) });
    }
    result.problem = lossOf(result.load, story);
  } catch (error) {
    const step = `step ${steps.length + 1} (${story.steps[steps.length]?.name})`;
    const what = error instanceof Interruption ? "was" : "did not go as it should:";
    result.problem = `${step} ${what} ${messageOf(error)}`;
  } finally {
    demo.close();
  }
  return { ...result, page: demo.page };
}

function finish(name: string, { steps, load, problem, page }: Told): void {
  const seconds = rounded(elapsed());
  const engine = firstLine("pulumi", "version");
  const haproxy = /version (\S+)/.exec(firstLine("haproxy", "-v"))?.[1] ?? "unknown";
  const report = { ok: problem === undefined, seconds, engine, haproxy, load, steps, evidence: page, problem };
  const { report: path, output } = foldersOf(name);
  writeFileSync(path, `${JSON.stringify(report, null, 2)}\n`);
  title(`Pulumi ${engine}, HAProxy ${haproxy}`);
  table([
    ["step", "", "exit", "seconds"],
    ...steps.map(({ name, exit, seconds }, index) => [`${index + 1}`, name, `${exit}`, seconds.toFixed(1)]),
  ]);
  if (load !== undefined) say(`\nload: ${summarize(load)}`);
  say(`report: ${path}; everything that the commands printed: ${output}`);
  if (page !== undefined) say(`the promotion in one picture, for a browser: ${page}`);
  if (problem === undefined) say(`\n✓ all of it in ${seconds} s, and nothing was dropped`);
  else say(`\n✗ ${problem}`);
}

function firstLine(program: string, argument: string): string {
  return execFileSync(program, [argument], { encoding: "utf8" }).split("\n")[0] ?? "";
}

function rounded(seconds: number): number {
  return Math.round(seconds * 10) / 10;
}

main()
  .catch((error: unknown) => console.error(messageOf(error)))
  .then(() => process.exit(exitCode));
