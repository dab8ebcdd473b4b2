import { z } from "zod";
import { type Gate, gate, isJudgedBefore, nameOf, SHORTEST_METERED } from "../gate/gate";
import { describeGate } from "../gate/gate-text";
import { type Duration, duration, formatMilliseconds, milliseconds } from "../types/duration";
import { quoteValue } from "../types/messages";
import { formatSplit, type Percent, parsePercent, percent, SPLIT_PARTS } from "./split";

/** Stage in which nothing goes to the candidate. It is always there. */
export const STABLE = "stable";
/** Another name of {@link STABLE}, beside stages that are named after their splits. */
const NONE = "0%";
/** Time for which a stage is watched, where it does not say. */
export const DEFAULT_WINDOW: Duration = "5 minutes";
/** Splits of the stages where a program declares none. */
const DEFAULT_SPLITS: readonly Percent[] = ["1%", "10%", "50%", "100%"];
/** Most stages of one route, and most gates of one stage. */
const MAX_STAGES = 50;
const MAX_GATES = 50;

export const stageName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9 ._%-]{0,39}$/, {
  error: ({ input }) =>
    `${quoteValue(input)} is not the name of a stage: use letters, digits, spaces, ".", "_", "%" and "-", at most 40 characters`,
});

const stageFields = z.strictObject({
  /** Share of the requests that goes to the candidate. The first stages may have `0%`, each with a name: nobody moves there. */
  split: percent,
  /** Name of the stage. @default the split, such as "10%" */
  name: stageName.optional(),
  /** Time for which the stage is held and its gates are watched before the next one. @default "5 minutes" */
  window: duration({ max: "7 days" }).default(DEFAULT_WINDOW),
  /** Share that goes to the route's mirror while it is in this stage. @default the mirror's own share. Change: live */
  mirror: percent.optional(),
  /**
   * Conditions: `soak` and `parity` must pass before any request goes to this stage, all others through its window.
   * @default nothing: the window is only waited for
   */
  gates: z.array(gate).max(MAX_GATES).default([]),
});

const stage = stageFields.transform(({ name, ...rest }) => ({ name: name ?? rest.split, ...rest }));
export type Stage = z.output<typeof stage>;
export type StageInput = z.input<typeof stage>;

/**
 * The stages of a rollout, each with a higher split than the one before; the first ones may be without requests for the
 * candidate.
 */
export const stages = z
  .array(stage)
  .min(1)
  .max(MAX_STAGES)
  .superRefine(
    (list: readonly unknown[], context) => {
      for (const [path, message] of stagesIssues(list)) context.addIssue({ code: "custom", path, message });
    },
    // Also where one of them is malformed, so that all problems come at once.
    { when: ({ value }) => Array.isArray(value) && value.length <= MAX_STAGES },
  )
  .prefault(DEFAULT_SPLITS.map((split) => ({ split })));

type Issue = [path: (string | number)[], message: string];

/** Problems of stages beside each other, and of their gates, as far as those are well-formed. */
function stagesIssues(list: readonly unknown[]): Issue[] {
  const all = list.map((each) => ({ place: ranked.safeParse(each).data, whole: stage.safeParse(each).data }));
  return all.flatMap(({ place, whole }, index) => {
    const before = all[index - 1];
    const issues = [...(whole === undefined ? [] : gateIssues(whole)), ...soakIssues(whole?.gates, before?.place)];
    const gates = issues.map(([path, message]): Issue => [[index, "gates", ...path], message]);
    if (place === undefined) return gates;
    const twin = all.slice(0, index).findIndex((other) => other.place?.name === place.name);
    return [
      ...gates,
      ...splitIssues(place, before?.place).map((message): Issue => [[index, "split"], message]),
      ...nameIssues(place, twin).map((message): Issue => [[index, "name"], message]),
    ];
  });
}

/** Name and split of a stage, read even if the rest of it is malformed. */
const ranked = stageFields
  .pick({ split: true, name: true })
  .strip()
  .transform(({ name, split }) => ({ name: name ?? split, split }));
type RankedStage = z.output<typeof ranked>;

function splitIssues({ name, split }: RankedStage, before: RankedStage | undefined): string[] {
  if (parts(split) === 0 && name === split)
    return [`${split} is the stage "${STABLE}", which is always there: remove it, or give it a name`];
  if (before === undefined || rises(before, { split })) return [];
  return [`${split} does not rise: it comes after ${before.split}, put the stages in rising order`];
}

function nameIssues({ name }: RankedStage, twin: number): string[] {
  if (twin >= 0) return [`${quoteValue(name)} is the name of stages[${twin}] already: use another`];
  return isStable(name) ? [`${quoteValue(name)} is the stage without a candidate: use another name`] : [];
}

function soakIssues(gates: readonly Gate[] | undefined, before: RankedStage | undefined): Issue[] {
  if (before === undefined || parts(before.split) > 0) return [];
  return (gates ?? []).flatMap((gate, index): Issue[] =>
    gate.kind === "soak" && gate.source === "meter"
      ? [
          [
            [index, "source"],
            `judges the candidate's requests in ${before.name}, which has none: judge its shadow's answers, with source: "mirror"`,
          ],
        ]
      : [],
  );
}

/** Whether a stage may come after another one. */
function rises(before: Pick<Stage, "split">, { split }: Pick<Stage, "split">): boolean {
  return parts(split) > parts(before.split) || parts(split) + parts(before.split) === 0;
}

/** The stages of a route as a program declares them. */
export const staged = z.strictObject({
  stages,
  /** Name of the stage to be in; `stable` (or `0%`) is the rollback. @default "stable" */
  stage: z.string().default(STABLE),
  /**
   * Target of a breach: `back` to where the update began, or on to `stable`, without any traffic on the candidate.
   * @default "back"
   */
  onBreach: z.enum(["back", "stable"]).default("back"),
});
export type Staged = z.output<typeof staged>;

/** Problems of a stage's gates, by path. */
function gateIssues({ gates, split, window }: Stage): Issue[] {
  return gates.flatMap((gate, index) => {
    const issues: Issue[] = [];
    const twin = gates.slice(0, index).findIndex(({ name }) => name !== undefined && name === gate.name);
    if (twin >= 0)
      issues.push([[index, "name"], `${quoteValue(gate.name)} is the name of gates[${twin}] already: use another`]);
    if (gate.kind !== "sli" || gate.source === "prometheus") return issues;
    if (gate.source === "meter" && parts(split) === 0)
      issues.push([
        [index, "source"],
        `judges the candidate's requests, of which a split of ${split} has none: judge the copies that its shadow answers, with source: "mirror"`,
      ]);
    if (gate.window === undefined && milliseconds(window) < milliseconds(SHORTEST_METERED))
      issues.push([
        [index],
        `can't judge a window of ${window}, since the meter is some seconds behind: use at least ${SHORTEST_METERED}`,
      ]);
    if (gate.source === "meter" && gate.notWorseThanStable !== undefined && parts(split) === SPLIT_PARTS)
      issues.push([
        [index, "notWorseThanStable"],
        "has nothing to compare with where all requests go to the candidate: use thresholds in this stage",
      ]);
    return issues;
  });
}

function parts(split: Percent): number {
  return parsePercent(split) ?? 0;
}

function isStable(name: string): boolean {
  return name === STABLE || name === NONE;
}

/** The split of the stage of a name, in 1/10,000; undefined if there is no such stage. */
export function splitOf(stages: readonly Stage[], name: string): number | undefined {
  if (isStable(name)) return 0;
  const found = stages.find((stage) => stage.name === name);
  return found === undefined ? undefined : parts(found.split);
}

/** Says that there is no stage of a name; undefined if there is one. */
export function unknownStage(stages: readonly Stage[], name: string): string | undefined {
  if (splitOf(stages, name) !== undefined) return undefined;
  return `${quoteValue(name)} is not a stage: use one of ${[STABLE, ...stages.map((stage) => stage.name)].map(quoteValue).join(", ")}`;
}

/** Position in a rollout: several stages may have the same split, if that is 0. */
export interface StagePosition {
  /** The candidate's share, in 1/10,000. */
  split: number;
  /** Name of the stage. @default what the split alone says */
  stage?: string | undefined;
}

/** Position of the stage with a name; undefined if there is no such stage. */
export function positionOf(stages: readonly Stage[], name: string): StagePosition | undefined {
  const split = splitOf(stages, name);
  return split === undefined ? undefined : { split, stage: isStable(name) ? STABLE : name };
}

/**
 * Number of the last stage that a position has reached; -1 below all, as for a share of 0 % of which no stage is known.
 */
export function reached(stages: readonly Stage[], { split, stage }: StagePosition): number {
  const named = stages.findIndex((each) => each.name === stage && parts(each.split) === split);
  return named >= 0 ? named : stages.findLastIndex((each) => parts(each.split) <= split && split > 0);
}

/** One stage of a rollout, with its split in 1/10,000. */
interface StageStep {
  stage: Stage;
  split: number;
}

/** The way from the current position to the wanted one. */
export interface Rollout {
  from: StagePosition;
  to: StagePosition;
  /** Stages to go through, each through its window and gates. None on the way down, which is one step at once. */
  steps: StageStep[];
  /** Least time that it takes, in milliseconds: all windows. */
  ms: number;
}

/** Least time for which a stage is held on the way up, in milliseconds: its window, or that of a gate which has a longer one. */
function minimumMs({ window, gates }: Stage): number {
  const own = gates.flatMap((gate) => (isJudgedBefore(gate) || gate.window === undefined ? [] : [gate.window]));
  return Math.max(...[window, ...own].map(milliseconds));
}

/** The gates of a stage that are judged before any request goes there, and those that are watched in it. */
export function splitGates(gates: readonly Gate[]): { before: Gate[]; within: Gate[] } {
  return {
    before: gates.filter(isJudgedBefore),
    within: gates.filter((gate) => !isJudgedBefore(gate)),
  };
}

/**
 * Why a rollout can't come to its end, whatever the candidate does: a soak is longer than the stage before is held on
 * the way. Only the first stage of a rollout can have been held before.
 */
export function rolloutProblem({ steps }: Pick<Rollout, "steps">): string | undefined {
  for (const [index, { stage }] of steps.entries()) {
    const before = steps[index - 1]?.stage;
    if (before === undefined) continue;
    const soak = stage.gates.find((gate) => gate.kind === "soak" && milliseconds(gate.duration) > minimumMs(before));
    if (soak?.kind === "soak")
      return `stage ${stage.name} can't be reached in one rollout: its gate ${nameOf(soak)} needs ${before.name} to be held for ${soak.duration}, but the rollout holds it for ${formatMilliseconds(minimumMs(before))}; go to stage ${before.name} first, and continue after that time`;
  }
  return undefined;
}

/**
 * Plans the way to a stage. Up, no stage between is left out; down, nothing is waited for.
 *
 * @param target name of a stage
 * @throws where there is no such stage
 */
export function planRollout(stages: readonly Stage[], from: StagePosition, target: string): Rollout {
  const to = positionOf(stages, target);
  if (to === undefined) throw new Error(unknownStage(stages, target));
  const steps = stages
    .slice(reached(stages, from) + 1, reached(stages, to) + 1)
    .map((stage) => ({ stage, split: parts(stage.split) }));
  return { from, to, steps, ms: steps.reduce((sum, { stage }) => sum + minimumMs(stage), 0) };
}

/**
 * Time that the soaks of a rollout's first stage still lack, for a preview.
 *
 * @param unchangedSince since when the route has been as it is, in milliseconds since the epoch; undefined if it is
 *   not held
 */
export function soakWarning(
  { steps }: Pick<Rollout, "steps">,
  unchangedSince: number | undefined,
  now: number,
): string | undefined {
  const stage = steps[0]?.stage;
  if (stage === undefined) return undefined;
  const held = unchangedSince === undefined ? 0 : now - unchangedSince;
  const soak = stage.gates.find((gate) => gate.kind === "soak" && milliseconds(gate.duration) > held);
  if (soak?.kind !== "soak") return undefined;
  const missing = formatMilliseconds(milliseconds(soak.duration) - held);
  return `stage ${stage.name} can't be entered yet: its gate ${nameOf(soak)} needs the route to be held for ${soak.duration} as it is, and ${missing} are missing`;
}

/** Describes a rollout, in sentences for a preview. */
export function describeRollout({ from, to, steps, ms }: Rollout, { onBreach }: Pick<Staged, "onBreach">): string[] {
  const [before, after] = [formatPosition(from), formatPosition(to)];
  if (steps.length === 0 && to.split < from.split)
    return [`the candidate goes from ${before} to ${after} of the requests at once, without gates`];
  if (steps.length === 0 && before !== after)
    return [`the route goes from ${before} to ${after} at once, without gates; nobody moves`];
  if (steps.length === 0) return [`the candidate keeps ${after} of the requests`];
  const back = onBreach === "back" ? `goes back to ${before}` : `goes back to ${before}, and then to ${NONE}`;
  return [
    `the candidate goes from ${before} to ${after} of the requests in ${steps.length} stage${steps.length === 1 ? "" : "s"}, at least ${formatMilliseconds(ms)} in all:`,
    ...steps.flatMap(({ stage }) => describeStage(stage).map((line) => `  ${line}`)),
    `a gate that fails at any of them undoes the whole rollout: it ${back}, and the update fails`,
  ];
}

/** The share, with the name of its stage where that says more. */
function formatPosition({ split, stage }: StagePosition): string {
  const share = formatSplit(split);
  return stage === undefined || stage === share || isStable(stage) ? share : `${share} (${stage})`;
}

function describeStage(stage: Stage): string[] {
  const { name, split, gates, mirror } = stage;
  const shadow = mirror === undefined ? "" : `, ${mirror} mirrored`;
  const title = `${name === split ? name : `${name} (${split})`}${shadow}`;
  const held = minimumMs(stage) === milliseconds(stage.window) ? stage.window : formatMilliseconds(minimumMs(stage));
  if (gates.length === 0) return [`${title} for ${held}: no gates`];
  return [`${title} for ${held}, if it passes:`, ...gates.map((gate) => `  ${describeGate(gate)}`)];
}
