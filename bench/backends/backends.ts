import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Workspace } from "../../test/engine/support/engine";
import { freePorts } from "../../test/support/ports";
import type { Options } from "../support/options";
import { type Findings, ratioTarget } from "../support/report";
import { agentFolder, backendsStack, good } from "../support/stack";
import { median, rounded } from "../support/statistics";

const BACKENDS = 100;
const ROUNDS = 3;
/** Ways to make the changes of an update: as the engine does it, and one after the other. */
const SIDES: Record<string, string[]> = { together: [], "one by one": ["--parallel", "1"] };
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
    for (const [side, args] of Object.entries(SIDES)) {
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
    targets: CHANGES.map((change) =>
      ratioTarget(`${change} together / one by one`, figures(`${change} together`), figures(`${change} one by one`), {
        atMost: 0.5,
      }),
    ),
    failures: [],
    notes: [
      "The engine writes its own record of the stack twice for each resource, on both sides, one after the other.",
    ],
  };
}

/** Reloads of the edge's HAProxy so far. */
async function reloads(stack: Workspace): Promise<number> {
  const events = await readFile(join(agentFolder(stack), "events.ndjson"), "utf8");
  return events.split("\n").filter((line) => line.includes('"message":"edge main: reload"')).length;
}
