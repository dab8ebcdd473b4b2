/**
 * `npm run bench -- [dataplane|switch|preview|backends|idle|meter|migrations|mirror|parity|rollback|supervise ...] [--quick]`: measures Sluice against its peers,
 * both sides in the same run, and writes `.sluice/bench/<name>.json`. Ends with 1 where it could not measure, or where
 * something failed that must not; a target that is not reached is shown, and no failure. With `--quick`, as a smoke test: the figures mean nothing.
 */

import { parseArgs } from "node:util";
import { messageOf } from "../src/model/types/errors";
import { backends } from "./backends/backends";
import { dataplane } from "./dataplane/dataplane";
import { idle } from "./idle/idle";
import { meter } from "./meter/meter";
import { migrations } from "./migrations/migrations";
import { mirror } from "./mirror/mirror";
import { parity } from "./parity/parity";
import { preview } from "./preview/preview";
import { rollback } from "./rollback/rollback";
import { supervise } from "./supervise/supervise";
import { machineFacts } from "./support/machine";
import type { Options } from "./support/options";
import { type Findings, render, writeReport } from "./support/report";
import { Scope } from "./support/scope";
import { switches } from "./switch/switch";

type Benchmark = (options: Options) => Promise<Findings>;
const BENCHMARKS: Record<string, Benchmark> = {
  dataplane,
  switch: switches,
  preview,
  backends,
  idle,
  meter,
  migrations,
  mirror,
  parity,
  rollback,
  supervise,
};

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { quick: { type: "boolean", default: false } },
    allowPositionals: true,
  });
  const names = positionals.length > 0 ? positionals : Object.keys(BENCHMARKS);
  const unknown = names.find((name) => BENCHMARKS[name] === undefined);
  if (unknown !== undefined)
    throw new Error(`there is no benchmark ${unknown}: there are ${Object.keys(BENCHMARKS).join(", ")}`);
  for (const name of names) {
    const benchmark = BENCHMARKS[name];
    if (benchmark !== undefined && !(await run(name, benchmark, values.quick))) process.exitCode = 1;
  }
}

/** Runs one benchmark and reports; tells whether it could be measured, and nothing failed that must not. */
async function run(name: string, benchmark: Benchmark, quick: boolean): Promise<boolean> {
  const scope = new Scope();
  const facts = machineFacts();
  const started = performance.now();
  const interrupted = (signal: NodeJS.Signals): void => {
    console.error(`${name}: ${signal}, cleaning up`);
    void scope.close().finally(() => process.exit(1));
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, interrupted);
  try {
    const findings = await benchmark({ quick, scope, say: (line) => console.log(`${name}: ${line}`) });
    const seconds = (performance.now() - started) / 1000;
    const report = { name, quick, seconds, machine: facts(), ...findings };
    const path = await writeReport(report);
    console.log(`\n${render(report)}\nwritten to ${path}\n`);
    return findings.failures.length === 0;
  } catch (error) {
    console.error(`${name} could not be measured: ${messageOf(error)}`);
    return false;
  } finally {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, interrupted);
    await scope.close();
  }
}

main().then(
  () => process.exit(),
  (error: unknown) => {
    console.error(messageOf(error));
    process.exit(1);
  },
);
