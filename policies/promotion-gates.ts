import { z } from "zod";
import { formatSplit, SPLIT_PARTS } from "../src/model/route/split";
import { type Stage, splitOf } from "../src/model/route/stages";
import { quoteValue } from "../src/model/types/messages";
import type { Judged, Unsure } from "./support/judged";
import { type Finding, policy } from "./support/policy";
import { candidateRollout, type Rollout, rolloutOf } from "./support/rollout";

const KINDS = ["health", "sli", "parity", "soak", "http", "command"] as const;
const EXAMPLE = '{ kind: "sli", thresholds: ["5xx < 1 %"] }';

export const promotionGates = policy({
  name: "promotion-gates",
  description: "All requests go to a candidate only after gates have judged it with some of them.",
  level: "mandatory",
  config: z.strictObject({
    kinds: z
      .array(z.enum(KINDS))
      .min(1)
      .default([...KINDS])
      .describe("Kinds of gates of which the stage before 100 % must have at least one"),
  }),
  judge: {
    Route: (inputs, { config }) => [...unwatched(rolloutOf(inputs), inputs, config.kinds), ...replaced(inputs)],
    Pool: (inputs, { config }) =>
      unwatched(candidateRollout(inputs), inputs.canary ?? {}, config.kinds).map(({ at, ...finding }) => ({
        ...finding,
        at: `canary.${at}`,
      })),
  },
});

/** The stage that decides whether everything goes to the candidate is the last one before 100 %. */
function unwatched(
  { steps }: Rollout,
  { stages }: Pick<Unsure<Judged["Route"]>, "stages">,
  kinds: readonly (typeof KINDS)[number][],
): Finding[] {
  if (steps.at(-1)?.split !== SPLIT_PARTS) return [];
  const declared = stages as Stage[];
  const last = declared.findLastIndex((one) => (splitOf(declared, one.name) ?? 0) < SPLIT_PARTS);
  const decisive = declared[last];
  if (decisive === undefined)
    return [
      { at: "stages", message: `lead to 100% without a stage before it: put one with gates there, such as ${EXAMPLE}` },
    ];
  const found = decisive.gates.map((gate) => gate.kind);
  if (found.some((kind) => (kinds as readonly string[]).includes(kind))) return [];
  const has =
    found.length === 0 ? "has no gates" : `has only ${found.join(", ")} gates, and needs ${kinds.join(" or ")}`;
  return [
    {
      at: `stages[${last}].gates`,
      message: `stage ${decisive.name} decides whether all requests go to the candidate, and ${has}: add one such as ${EXAMPLE}`,
    },
  ];
}

/** Another stable backend takes its share at once, whatever the stages say. */
function replaced({ change }: Unsure<Judged["Route"]>): Finding[] {
  const { from, to, had } = change?.stable ?? {};
  if (change?.kind !== "promotion" || from === undefined || from === "" || from === to) return [];
  if (had === formatSplit(SPLIT_PARTS)) return [];
  return [
    {
      at: "stable",
      message: `${quoteValue(to)} takes over from ${from} at once, and had ${had} of the requests as the candidate: take it to 100% first`,
    },
  ];
}
