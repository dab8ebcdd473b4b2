import assert from "node:assert/strict";
import type { Outcome } from "../../support/engine";
import { KINDS } from "./whole";

export const ALL_KINDS = Object.keys(KINDS).length;

/** Expects that a command replaced so many records. */
export function replaces(count: number) {
  return async ({ events }: Outcome): Promise<void> => {
    const ops = events.flatMap(({ resOutputsEvent }) => resOutputsEvent?.metadata.op ?? []);
    assert.equal(ops.filter((op) => op === "create-replacement").length, count);
  };
}
