import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Workspace } from "../../test/engine/support/engine";
import { freePorts } from "../../test/support/ports";
import type { Options } from "../support/options";
import { type Findings, ratioTarget } from "../support/report";
import { agentFolder, backendsStack, good } from "../support/stack";
import { median, rounded } from "../support/statistics";

const BACKENDS = 300;
const ROUNDS = 2;
/** Ways to make the changes of an update: as the engine does it, without its record after each of them, and one after the other. */
const SIDES: Record<string, { args: string[]; env: Record<string, string> }> = {
  together: { args: [], env: { PULUMI_SKIP_CHECKPOINTS: "false" } },
  "together, recorded once": { args: ["--parallel", "100"], env: { PULUMI_SKIP_CHECKPOINTS: "true" } },
  "one by one": { args: ["--parallel", "1"], env: { PULUMI_SKIP_CHECKPOINTS: "false" } },
};
const CHANGES = ["create", "change", "remove"];

/** Creates, changes and removes many backends of one edge, in one update each: what they share, and what each costs alone. */
export async function backends({ quick, scope, say }: Options): Promise<Findings> {
  const [many, rounds] = quick ? [8, 1] : [BACKENDS, ROUNDS];
  const port = String(await freePorts(1));
  const stack = await backendsStack(scope, { "sluice:port": port, "sluice:backends": "1" });
  good(await stack.up());
  const samples: Record<string, number[]> = {};
  const note = (key: string, figure: number) => {
    samples[key] = [...(samples[key] ?? []), rounded(figure)];
  };
  let server = 9;
  const program: Record<string, () => Promise<void>> = {
    create: () => stack.config("sluice:backends", String(many)),
    change: () => {
      server += 1;
      return stack.config("sluice:server", String(server));
    },
    remove: () => stack.config("sluice:backends", "1"),
  };
  for (let round = 0; round < rounds; round++) {
    for (const [side, { args, env }] of Object.entries(SIDES)) {
      stack.use(env);
      for (const change of CHANGES) {
        await program[change]?.();
        if (side === "together") note(`preview of ${change}`, good(await stack.preview()).seconds);
        const before = await reloads(stack);
        note(`${change} ${side}`, good(await stack.up(...args)).seconds);
        note(`reloads of ${change} ${side}`, (await reloads(stack)) - before);
      }
      say(
        `round ${round + 1} of ${rounds}, ${side}: ${CHANGES.map((change) => `${change} ${samples[`${change} ${side}`]?.at(-1)} s`).join(", ")}`,
      );
    }
  }
  const figures = (key: string) => samples[key] ?? [];
  const sides = Object.keys(SIDES);
  return {
    parameters: { backends: many, rounds },
    samples,
    summary: Object.fromEntries(
      CHANGES.map((change) => [
        change,
        {
          "preview s": median(figures(`preview of ${change}`)),
          ...Object.fromEntries(sides.map((side) => [`${side} s`, median(figures(`${change} ${side}`))])),
          ...Object.fromEntries(
            sides.map((side) => [`reloads ${side}`, median(figures(`reloads of ${change} ${side}`))]),
          ),
        },
      ]),
    ),
    targets: CHANGES.flatMap((change) =>
      sides
        .filter((side) => side.startsWith("together"))
        .map((side) =>
          ratioTarget(`${change} ${side} / one by one`, figures(`${change} ${side}`), figures(`${change} one by one`), {
            atMost: 0.5,
          }),
        ),
    ),
    failures: [],
    notes: [
      'The engine writes its own record of the whole stack twice for each resource, one after the other; "recorded once" is with PULUMI_SKIP_CHECKPOINTS=true and --parallel 100.',
    ],
  };
}

/** Reloads of the edge's HAProxy so far. */
async function reloads(stack: Workspace): Promise<number> {
  const events = await readFile(join(agentFolder(stack), "events.ndjson"), "utf8");
  return events.split("\n").filter((line) => line.includes('"message":"edge main: reload"')).length;
}
