import type { Ownership } from "../../model/protocol/ownership";
import type { StepInput } from "../../model/protocol/transaction";
import { formatSplit } from "../../model/route/split";
import {
  type Rollout,
  rolloutProblem,
  type Stage,
  type Staged,
  type StagePosition,
  splitGates,
} from "../../model/route/stages";
import { milliseconds } from "../../model/types/duration";
import { unmeteredProblem } from "../checks/metered";
import { assertClaim } from "../checks/ownership";
import { note, type SendNote } from "../evidence/note-sender";
import { assertServersAnswer } from "../gates";
import type { Context } from "../server";
import { runOnAll } from "./all-agents";
import type { RunGates, StageContext } from "./stage-gates";
import { inTransactions, type OpenPart, type Part } from "./transaction";

/** An agent that has a part of the subject, and its edges there. */
export interface RolloutPart extends Part {
  edges: string[];
}

/** A part with the step that is to be run on it. */
type PartWithStep = Part & { step: StepInput };

/** A subject as its agents have it. */
export interface Reading {
  /** On each agent, in the order of the parts; nothing where it is new. */
  now: readonly ({ owner?: Ownership | undefined } | undefined)[];
  /** The candidate's committed share, of all agents the highest, in 1/10,000. */
  committed: number;
  /** The way from its position to the declared stage. */
  rollout: Rollout;
  /** Why it can't go there, besides what is wrong with the stages. */
  problem?: string | undefined;
}

/** A subject that is as declared, but for its position. */
interface Staging {
  /** Whether the candidate must be set up at its present position before it goes through stages. */
  isNew: boolean;
  /** Since when it has been as it is, in milliseconds since the epoch. @default not held at all */
  unchangedSince?: number | undefined;
  /** The step that brings a part to a position. */
  stepAt(part: RolloutPart, position: StagePosition): StepInput;
}

/** Share of the requests that an edge leads somewhere, as it was read back. */
interface ShareReading {
  /** Name of the edge, for messages. */
  edge: string;
  /** Its share in 1/10,000; null where HAProxy does not run. */
  has: number | null | undefined;
  wanted: number;
  /** Destination of the requests, for messages, such as `to the candidate`. */
  to: string;
}

/** A gate did not pass in a stage that had requests; one that only refuses entry leaves them where they are. */
class StageBreach extends Error {}

/** A subject of rollouts, a route or a pool with its candidate: how its parts are read, changed and described. */
export interface Subject<R extends Reading> {
  /** Name for messages, such as `route api`. */
  title: string;
  /** Name of the subject of the stages, for messages. @default the title */
  staged?: string;
  /** Name of the route, where it is one: gates then count its requests only. */
  route?: string;
  onBreach: Staged["onBreach"];
  runGates: RunGates;
  parts: readonly RolloutPart[];
  /** Parts that are no longer of it, and the step that removes each. @default none */
  leaving?: { parts: readonly RolloutPart[]; step: StepInput };
  /** Reads it on all agents, those that it leaves last, and plans its way. */
  read(): Promise<R>;
  /** The parts whose candidate has fewer requests than were committed, each with the step that commits those. */
  takenByHand(before: R): PartWithStep[];
  /** Brings it to what is declared but for its position; nothing where it has no candidate that takes requests. */
  prepare(open: OpenPart<RolloutPart>[], before: R, context: Context): Promise<Staging | undefined>;
  /** Backends and split at a position, for gates. */
  specAt(position: StagePosition): StageContext["spec"];
  /** Reads back what each edge has, beside what a position says. */
  readBack(position: StagePosition): Promise<ShareReading[]>;
  /** Leads all requests to the stable side, after the undo of a breach; nothing if that has them already. */
  rollBack(before: R, breach: string): { parts: PartWithStep[]; to: string; note: string } | undefined;
  /** The step that puts a part back which is committed, after the commit of another one failed. @default none: it has one part */
  restoreStep?(part: RolloutPart, before: R): StepInput;
}

/**
 * Brings a subject to its declared stage, in one transaction over all of its agents:
 *
 * 1. Refuse a way that can't come to its end, or whose gates nobody could judge, before anything is changed.
 * 2. Commit what somebody took off the candidate by hand: an undo must not give it back.
 * 3. Open the transaction on all agents, or on none. If this process dies from here on, each agent undoes its own part
 *    once its lease has run out, and the next rollout begins at the position that it reads then.
 * 4. Prepare everything but the position, which gives the candidate no further requests.
 * 5. Up, go through every stage between, each through its gates and window. Down, go at once.
 * 6. Remove the parts that it leaves, and commit.
 *
 * A failure or a cancellation after step 3 undoes all of it. Where that was a gate of a stage that had requests, and
 * `onBreach` is `stable`, all requests then go to the stable side.
 */
export async function rollOut<R extends Reading>(subject: Subject<R>, context: Context): Promise<void> {
  const { parts, leaving } = subject;
  let before = await subject.read();
  await assertFeasible(subject, before, context);
  await assertServersAnswer(
    before.rollout.steps.flatMap(({ stage }) => stage.gates),
    context.signal,
  );
  await commitTakenByHand(subject, before, context);
  let isBreach = false;
  try {
    await inTransactions(
      [...parts, ...(leaving?.parts ?? [])],
      context,
      async (all, signal, sendNote) => {
        const open = all.slice(0, parts.length);
        before = await subject.read();
        const staging = await subject.prepare(open, before, { ...context, signal });
        if (staging !== undefined)
          await runStages(subject, before.rollout, { open, ...staging }, { signal, log: context.log, sendNote }).catch(
            (error: unknown) => {
              isBreach = error instanceof StageBreach;
              throw error;
            },
          );
        if (leaving !== undefined) await Promise.all(all.slice(parts.length).map(({ run }) => run(leaving.step)));
      },
      {
        revert: async (part) => {
          const step = subject.restoreStep?.(part, before);
          if (step === undefined) throw new Error("nothing puts it back");
          await runSteps([{ client: part.client, target: part.target, step }], context);
        },
      },
    );
  } catch (error) {
    if (!isBreach || subject.onBreach !== "stable") throw error;
    throw await rollBack(subject, before, error as Error, context);
  }
}

async function assertFeasible<R extends Reading>(
  { title, parts }: Subject<R>,
  { now, rollout, problem }: R,
  context: Context,
): Promise<void> {
  for (const [index, { target, claim }] of parts.entries()) assertClaim(target, now[index], claim, context);
  const unmetered = await Promise.all(parts.map(({ client, edges }) => unmeteredProblem(client, edges, rollout)));
  const found = problem ?? rolloutProblem(rollout) ?? unmetered.find((each) => each !== undefined);
  if (found !== undefined) throw new Error(`${title}: ${found}`);
}

/** Commits what was taken by hand, or what an update that died between the commits of two agents gave to only one. */
async function commitTakenByHand<R extends Reading>(subject: Subject<R>, before: R, context: Context): Promise<void> {
  const { rollout, committed } = before;
  const taken = rollout.steps.length === 0 ? [] : subject.takenByHand(before);
  if (taken.length === 0) return;
  const to = formatSplit(rollout.from.split);
  context.log.info(`the candidate was taken from ${formatSplit(committed)} to ${to} by hand`);
  await runSteps(taken, context);
}

/** Goes to the declared stage, through all between. Rejects at the first gate that fails. */
async function runStages<R extends Reading>(
  subject: Subject<R>,
  { from, to, steps }: Rollout,
  { open, isNew, unchangedSince, stepAt }: Staging & { open: OpenPart<RolloutPart>[] },
  context: Pick<StageContext, "signal" | "log"> & { sendNote: SendNote },
): Promise<void> {
  const { title, staged = title, route, runGates } = subject;
  const moveTo = async (position: StagePosition) => {
    await runOnAll(open, (part) => stepAt(part, position));
    assertShares(await subject.readBack(position));
  };
  if (steps.length === 0) return moveTo(to);
  if (isNew) await moveTo(from);
  const { signal, sendNote } = context;
  sendNote({
    kind: "plan",
    stages: steps.map(({ stage, split }) => ({ stage: stage.name, split, windowMs: milliseconds(stage.window) })),
  });
  const edges = open.flatMap(({ client, edges: names }) => names.map((name) => ({ name, agent: client })));
  let entered: Pick<StageContext, "spec" | "unchangedSince"> = { spec: subject.specAt(from), unchangedSince };
  for (const { stage, split } of steps) {
    const watch = (part: Partial<Stage>, Failure: ErrorConstructor | typeof StageBreach) =>
      runGates({ ...stage, ...part }, { ...context, edges, route, ...entered }).catch((error: unknown) => {
        signal.throwIfAborted();
        throw new Failure(`stage ${stage.name} of ${staged}: ${(error as Error).message}`, { cause: error });
      });
    const { before, within } = splitGates(stage.gates);
    if (before.length > 0) await watch({ gates: before, window: "0 seconds" }, Error);
    const position = { split, stage: stage.name };
    await moveTo(position);
    entered = { spec: subject.specAt(position), unchangedSince: Date.now() };
    sendNote({ kind: "stage", at: Date.now(), stage: stage.name, split, windowMs: milliseconds(stage.window) });
    await watch({ gates: within }, StageBreach);
  }
}

function assertShares(shares: readonly ShareReading[]): void {
  const other = shares.find(({ has, wanted }) => has !== null && has !== wanted);
  if (other === undefined) return;
  const { edge, has, wanted, to } = other;
  throw new Error(
    `${edge} gives ${formatSplit(has ?? 0)} ${to}, not ${formatSplit(wanted)}: does somebody else change it?`,
  );
}

/** Leads all requests to the stable side, once a breach is undone; the error says that, or why it could not be done. */
async function rollBack<R extends Reading>(
  subject: Subject<R>,
  before: R,
  breach: Error,
  context: Context,
): Promise<Error> {
  const { title } = subject;
  const { message } = breach;
  try {
    const back = subject.rollBack(before, message);
    if (back === undefined) return breach;
    await runSteps(back.parts, context, `after a breach, ${back.note}, as onBreach says: ${message}`);
    return new Error(`${message}\nThen all requests of ${title} went to ${back.to}, as onBreach says.`);
  } catch (error) {
    return new Error(
      `${message}\nThe requests of ${title} could not all be led to the stable side, as onBreach says: ${(error as Error).message}`,
    );
  }
}

/** Runs a step on each part, in a transaction of their own. */
async function runSteps(parts: readonly PartWithStep[], context: Context, why?: string): Promise<void> {
  await inTransactions(parts, context, (open, _signal, sendNote) => {
    if (why !== undefined) sendNote(note(why));
    return runOnAll(open, ({ step }) => step);
  });
}
