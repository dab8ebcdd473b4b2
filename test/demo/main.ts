/**
 * `npm run demo`: a small app on this machine is promoted, damaged, rolled back and killed by real commands, while a load
 * runs all the time through the edge. The seven steps are in steps.ts. Writes `.sluice/demo/report.json`; exits with 1
 * when a step did not go as it should, or when a single request, WebSocket or event stream of the load was lost.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import type { LoadReport } from "../load/report";
import { summarize } from "../load/report";
import { Demo } from "./demo";
import { endLeftovers } from "./leftovers";
import { FOLDER, MARKER, OUTPUT, REPORT } from "./project";
import { elapsed, say, table, title } from "./screen";
import { type Done, STEPS } from "./steps";

interface StepReport {
  name: string;
  command: string;
  exit: number | string;
  seconds: number;
}

const INTERRUPTED = 130;

async function main(): Promise<number> {
  const left = await endLeftovers();
  if (left > 0) say(`ended ${left} processes that an interrupted demo had left`);
  // For everything that is started from here on, the load included.
  process.env[MARKER] = FOLDER;
  const demo = await Demo.create();
  const steps: StepReport[] = [];
  let load: LoadReport | undefined;
  let problem: string | undefined;
  try {
    for (const [index, { name, run }] of STEPS.entries()) {
      title(`${index + 1}. ${name}`);
      const startedAt = elapsed();
      const done: Done = await run(demo);
      load = done.load ?? load;
      steps.push({ name, command: done.command, exit: done.exit, seconds: rounded(elapsed() - startedAt) });
    }
    problem = lossOf(load);
  } catch (error) {
    const name = STEPS[steps.length]?.name;
    problem = `step ${steps.length + 1} (${name}) did not go as it should: ${error instanceof Error ? error.message : error}`;
  } finally {
    demo.agent.close();
    await endLeftovers();
  }
  finish(steps, load, problem);
  return problem === undefined ? 0 : 1;
}

/** Says what of the load was lost, if anything; a load that proves nothing counts as lost, too. */
function lossOf(load: LoadReport | undefined): string | undefined {
  if (load === undefined) return "the load was never measured";
  const { requests, failed, websockets, websocketsCut, streams, streamsCut, failures } = load;
  if (failed + websocketsCut + streamsCut > 0)
    return `the load lost something: ${failures.map(({ time, kind, error }) => `\n  ${time} ${kind}: ${error}`).join("")}`;
  if (Math.min(requests, websockets, streams) === 0) return `the load did not run as it should: ${summarize(load)}`;
  return undefined;
}

function finish(steps: StepReport[], load: LoadReport | undefined, problem: string | undefined): void {
  const seconds = rounded(elapsed());
  const engine = firstLine("pulumi", "version");
  const haproxy = /version (\S+)/.exec(firstLine("haproxy", "-v"))?.[1] ?? "unknown";
  const report = { ok: problem === undefined, seconds, engine, haproxy, load, steps, ...(problem && { problem }) };
  writeFileSync(REPORT, `${JSON.stringify(report, null, 2)}\n`);
  title(`Pulumi ${engine}, HAProxy ${haproxy}`);
  table([
    ["step", "", "exit", "seconds"],
    ...steps.map(({ name, exit, seconds }, index) => [`${index + 1}`, name, `${exit}`, seconds.toFixed(1)]),
  ]);
  if (load !== undefined) say(`\nload: ${summarize(load)}`);
  say(`report: ${REPORT}; everything that the commands printed: ${OUTPUT}`);
  if (problem === undefined) say(`\n✓ all of it in ${seconds} s, and nothing was dropped`);
  else say(`\n✗ ${problem}`);
}

function firstLine(program: string, argument: string): string {
  return execFileSync(program, [argument], { encoding: "utf8" }).split("\n")[0] ?? "";
}

function rounded(seconds: number): number {
  return Math.round(seconds * 10) / 10;
}

function interrupt(): void {
  say("\ninterrupted: ending what the demo started");
  endLeftovers().then(
    () => process.exit(INTERRUPTED),
    (error: unknown) => fail(error),
  );
}

function fail(error: unknown): never {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, interrupt);
main().then((code) => process.exit(code), fail);
