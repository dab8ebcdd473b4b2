import type { Workspace } from "../../test/engine/support/engine";
import { freeRange } from "../../test/support/ports";
import type { Options } from "../support/options";
import { type Findings, ratioTarget } from "../support/report";
import { backendsStack, good, workspace } from "../support/stack";
import { median, rounded } from "../support/statistics";

const BACKENDS = 300;
const ROUNDS = 7;
/** The demo uses its port and those after it. */
const DEMO_PORTS = 22;

/**
 * A preview without any change, of the demo's stack and of one with many backends, against the preview of a program
 * without resources: same engine, same entry point (`stacks/main.cjs`).
 */
export async function preview({ quick, scope, say }: Options): Promise<Findings> {
  const [backends, rounds] = quick ? [10, 1] : [BACKENDS, ROUNDS];
  const range = await freeRange(DEMO_PORTS + 1);
  const manyName = `${backends} backends`;
  const stacks: Record<string, Workspace> = {
    empty: await workspace(scope, "empty", { files: { "stacks/empty.ts": "export {};\n" }, links: [], config: {} }),
    demo: await workspace(scope, "demo", {
      files: {},
      links: ["stacks/demo"],
      config: { "sluice:release": "v1", "sluice:port": String(range.from) },
    }),
    [manyName]: await backendsStack(scope, { "sluice:port": String(range.to), "sluice:backends": String(backends) }),
  };
  for (const [name, stack] of Object.entries(stacks)) {
    // All at once: HAProxy then takes many of them in one reload.
    const { seconds } = good(await stack.up("--parallel", String(backends)));
    say(`${name} is up (${seconds.toFixed(1)} s)`);
    good(await stack.preview());
  }
  const samples: Record<string, number[]> = Object.fromEntries(Object.keys(stacks).map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, stack] of Object.entries(stacks)) {
      const outcome = good(await stack.preview());
      const changes = outcome.events.find(({ summaryEvent }) => summaryEvent !== undefined)?.summaryEvent;
      const other = Object.keys(changes?.resourceChanges ?? {}).filter((change) => change !== "same");
      if (other.length > 0) throw new Error(`the preview of ${name} found something to ${other.join(", ")}`);
      samples[name]?.push(rounded(outcome.seconds));
    }
    const latest = Object.entries(samples).map(([name, all]) => `${name} ${all.at(-1)?.toFixed(2)} s`);
    say(`round ${round + 1} of ${rounds}: ${latest.join(", ")}`);
  }
  const empty = samples.empty ?? [];
  const ratio = (what: string, name: string, atMost: number) =>
    ratioTarget(`preview of ${what} / of an empty program`, samples[name] ?? [], empty, { atMost });
  return {
    parameters: { backends, rounds },
    samples,
    summary: Object.fromEntries(
      Object.entries(samples).map(([name, seconds]) => [
        name,
        { "median s": median(seconds), "min s": Math.min(...seconds), "of empty": ratio(name, name, 0).measured },
      ]),
    ),
    targets: [ratio("the demo", "demo", 1.8), ratio(manyName, manyName, 3.5)],
    failures: [],
    notes: [],
  };
}
