import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { PHASES, type Phase } from "../../../src/model/protocol/transaction";
import type { Deployment } from "./deploy";
import { random, seedOf } from "./random";
import { answeringRelease, assertWhole, committedRelease } from "./whole";
import { World, type WorldOptions } from "./world";

/** Most phases last a few milliseconds, three of them up to a second. */
const SHORT_DELAY_MS = 30;
const LONG_DELAY_MS = 700;
const PHASE_DEADLINE_MS = 30_000;
const LAST_EVENTS = 40;
/** Cases of each fault at a random moment of a random phase. */
const RANDOM_CASES = Number(process.env.SLUICE_RANDOM_FAULTS ?? 2);

export interface FaultKind {
  name: string;
  /** Whether HAProxy lives through it: no request may fail then. */
  hitless: boolean;
  /** Prepares the fault before the promotion begins, such as finding the process to hit. */
  aim(world: World, deployment: () => Deployment): Promise<Fault>;
  options?: WorldOptions;
  /** Hosts on which the cases run, at the same time. @default 3 */
  worlds?: number;
  /** Cases after which a host is replaced by a fresh one. @default all */
  casesPerWorld?: number;
  /** Reason to leave the cases out, if there is one. */
  skip?: string | undefined;
}

interface Fault {
  hit(): Promise<void> | void;
  /** Repairs it afterwards: the host is switched on, the disk is cleared. */
  repair?(): Promise<void>;
}

interface Case {
  phase: Phase;
  delayMs: number;
  name: string;
}

/** The cases of a fault: as each phase of a promotion begins, and at random moments. */
export function faultTests(kind: FaultKind): void {
  const { worlds = 3, skip } = kind;
  test(kind.name, { concurrency: worlds, ...(skip === undefined ? {} : { skip }) }, async (t) => {
    const seed = seedOf();
    const next = random(seed);
    const randomCase = (): Case => {
      const phase = PHASES[Math.floor(next() * PHASES.length)] ?? "open";
      const delayMs = Math.round(next() * (next() < 0.5 ? SHORT_DELAY_MS : LONG_DELAY_MS));
      return { phase, delayMs, name: `${delayMs} ms after ${phase} began (seed ${seed})` };
    };
    const cases = [
      ...PHASES.map((phase): Case => ({ phase, delayMs: 0, name: `at ${phase}` })),
      ...Array.from({ length: RANDOM_CASES }, randomCase),
    ];
    const shares = Array.from({ length: worlds }, (_, share) => cases.filter((_, index) => index % worlds === share));
    await Promise.all(shares.map((share, index) => t.test(`host ${index + 1}`, (t) => runShare(t, kind, share))));
  });
}

async function runShare(t: TestContext, kind: FaultKind, cases: Case[]): Promise<void> {
  let world: World | undefined;
  let used = 0;
  for (const one of cases) {
    await t.test(one.name, async (t) => {
      if (used === (kind.casesPerWorld ?? cases.length)) {
        await world?.close();
        world = undefined;
      }
      if (world === undefined) {
        world = await World.start(tracked(t), kind.options);
        used = 0;
      }
      used += 1;
      try {
        await runCase(t, world, kind, one);
      } catch (error) {
        t.diagnostic(await lastEvents(world));
        await world.close();
        world = undefined;
        throw error;
      }
    });
  }
  await world?.close();

  /** A host outlives the case that started it. */
  function tracked(_: TestContext): TestContext {
    return t;
  }
}

async function runCase(t: TestContext, world: World, kind: FaultKind, { phase, delayMs }: Case): Promise<void> {
  const before = await committedRelease(world);
  const failedBefore = world.load?.snapshot().failed ?? 0;
  const after = world.nextRelease();
  let deployment: Deployment | undefined;
  const fault = await kind.aim(world, () => deployment as Deployment);
  const ended = new AbortController();
  const reached = world.phase(phase, AbortSignal.any([ended.signal, AbortSignal.timeout(PHASE_DEADLINE_MS)]));
  deployment = world.deploy(after);
  void deployment.finished.then(({ exit, output }) => {
    // The events of what has just happened come right behind.
    setTimeout(() => ended.abort(new Error(`the promotion ended (${exit}) before ${phase}: ${output}`)), 1000).unref();
  });
  await reached;
  if (delayMs > 0) await sleep(delayMs);
  await fault.hit();
  const { exit, output } = await deployment.finished;
  await world.quiet();
  const outcome = await committedRelease(world);
  t.diagnostic(`${before} -> ${after}: ${outcome}, deployer ${exit}${output === "" ? "" : `: ${output.trim()}`}`);
  assert.ok([before, after].includes(outcome), `${outcome} is committed`);
  if (phase === "retire") assert.equal(outcome, after, "a committed promotion was undone");
  if (exit === 0) assert.equal(outcome, after, "the deployer was told of a commit that is not one");
  if (exit === 1) assert.equal(outcome, before, `the deployer was told of a failure, but it is committed: ${output}`);
  await assertWhole(world, outcome);
  assert.equal(await answeringRelease(world), outcome);
  await fault.repair?.();
  const following = await world.promoteNext();
  await assertWhole(world, following);
  assert.equal(await answeringRelease(world), following);
  if (!kind.hitless || world.load === undefined) return;
  const { failed, failures, requests } = world.load.snapshot();
  assert.ok(requests > 0);
  assert.equal(failed - failedBefore, 0, `requests failed: ${JSON.stringify(failures)}`);
}

async function lastEvents({ directory }: World): Promise<string> {
  const text = await readFile(join(directory, "events.ndjson"), "utf8").catch((error: Error) => error.message);
  const log = await readFile(join(directory, "agent.log"), "utf8").catch((error: Error) => error.message);
  return [
    ...text.trim().split("\n").slice(-LAST_EVENTS),
    "agent.log:",
    ...log.trim().split("\n").slice(-LAST_EVENTS),
  ].join("\n");
}
