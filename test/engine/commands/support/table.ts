import assert from "node:assert/strict";
import test from "node:test";
import { type Requests, sendRequests } from "../../../support/requests";
import type { Outcome } from "../../support/engine";
import { type Change, KINDS, Whole } from "./whole";

export interface Row {
  /** The command, and what it is done to. */
  name: string;
  run(whole: Whole): Promise<Outcome>;
  /** Text that the command says; one that is `refused` ends with another code than 0, too. @default nothing changes, and nothing is said */
  refused?: RegExp;
  says?: RegExp;
  /** Further checks. */
  look?(outcome: Outcome): Promise<void>;
  /** Whether it changes what is declared, but not what runs. @default false */
  redeclares?: boolean;
  /** Parts that have other processes then, such as HAProxy's worker after a hitless reload. @default nothing */
  renews?: string;
}

/** Runs commands one after the other on one stack under load: no request fails, and whatever runs goes on. */
export function commandTable(title: string, rows: (whole: Whole) => Row[] | Promise<Row[]>): void {
  test(title, async (t) => {
    const whole = await Whole.start(t);
    const load = sendRequests(t, whole.ports, { atOnce: 3, pauseMs: 15 });
    t.after(() => load.stop());
    for (const row of await rows(whole)) await t.test(row.name, () => runRow(row, whole, load));
  });
}

async function runRow(row: Row, whole: Whole, load: Requests): Promise<void> {
  const before = await whole.reality();
  const failed = load.seen().failures.length;
  const outcome = await row.run(whole);
  const text = outcome.stdout + outcome.stderr;
  const label = `${outcome.command} ended with ${outcome.exit}:\n${text}`;
  if (row.refused === undefined) assert.equal(outcome.exit, 0, label);
  else {
    assert.notEqual(outcome.exit, 0, label);
    assert.match(text, row.refused);
  }
  if (row.says !== undefined) assert.match(text, row.says);
  await row.look?.(outcome);
  const after = await whole.reality();
  assert.deepEqual(load.seen().failures.slice(failed), [], label);
  if (row.renews !== undefined) {
    assert.notDeepEqual(after.pids[row.renews], before.pids[row.renews], label);
    after.pids[row.renews] = before.pids[row.renews];
  }
  assert.deepEqual(after.pids, before.pids, label);
  if (!row.redeclares) assert.deepEqual(after.committed, before.committed, label);
  assert.deepEqual((await whole.stack.state()).pendingOperations, [], label);
}

/** A resource of every kind as arguments of a command, each after the option if there is one. */
export function everyKind(whole: Whole, ...option: string[]): string[] {
  return Object.values(KINDS).flatMap((kind) => [...option, whole.urn(kind)]);
}

/** The same change of a resource of every kind. */
export function declaredAs(change: Change): Record<string, Change> {
  return Object.fromEntries(Object.values(KINDS).map(({ key }) => [key, change]));
}
