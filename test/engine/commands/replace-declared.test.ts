import assert from "node:assert/strict";
import type { Outcome } from "../support/engine";
import { ALL_KINDS, replaces } from "./support/replaced";
import { commandTable, declaredAs, type Row } from "./support/table";
import { type Change, KINDS, type Whole } from "./support/whole";

/** Options of a program that may make the engine replace a resource, and whether each does. */
const TRIGGERS: [name: string, options: object, replaced: number][] = [
  ["a replacementTrigger that is new", { replacementTrigger: "one" }, 0],
  ["one that changes", { replacementTrigger: "two" }, ALL_KINDS],
  ["one that changes, with deleteBeforeReplace", { replacementTrigger: "three", deleteBeforeReplace: true }, ALL_KINDS],
];

/** Changes for which another thing would have to take the place of what serves. */
const MOVES: Record<string, { changes: Record<string, Change>; refused: RegExp }> = {
  "an agent in another folder is refused": {
    changes: { agent: { args: { directory: "/nowhere" } } },
    refused: /directory: .* can't become \/nowhere while it serves: declare another one there/,
  },
  "a pool on another edge is refused": {
    changes: { web: { args: { edge: "other" } } },
    refused: /edge: pool web serves edge main: a pool can't move to edge other, declare another pool/,
  },
  "a backend of another name is refused": {
    changes: { plain: { args: { name: "other" } } },
    refused: /name: plain can't become other while it serves: keep name: "plain"/,
  },
  "a backend on another edge is refused": {
    changes: { plain: { args: { edge: "other" } } },
    refused: /edge: main can't become other while plain serves: declare another one there/,
  },
};

commandTable("a replacement that a program asks for renews the record alone: what runs goes on", (whole) => [
  ...TRIGGERS.map(
    ([name, options, replaced]): Row => ({
      name,
      run: () => up(whole, declaredAs({ options })),
      look: replaces(replaced),
    }),
  ),
  {
    name: "replaceOnChanges, with a live change",
    run: () => up(whole, { web: { args: { drainDeadline: "3 seconds" }, options: { replaceOnChanges: ["*"] } } }),
    look: replaces(1),
    redeclares: true,
  },
  { name: "an update after that has its live change to undo", run: () => up(whole, {}), redeclares: true },
  { name: "and the next one nothing", run: ({ stack }) => stack.up("--expect-no-changes") },
  {
    name: "up --replace of a pool in place, together with a new release",
    run: async ({ stack }) => {
      await whole.declare({ "node-a": { args: { release: whole.release("v2") } } });
      return stack.up("--replace", whole.urn(KINDS["a pool in place"]));
    },
    look: async (outcome) => {
      await replaces(1)(outcome);
      assert.equal((await whole.clients.nodes.pool("node-a"))?.live.release, "v2");
    },
    redeclares: true,
    renews: "node-a",
  },
  ...Object.entries(MOVES).map(
    ([name, { changes, refused }]): Row => ({ name, run: () => preview(whole, changes), refused }),
  ),
]);

async function up(whole: Whole, changes: Record<string, Change>): Promise<Outcome> {
  await whole.declare(changes);
  return whole.stack.up();
}

async function preview(whole: Whole, changes: Record<string, Change>): Promise<Outcome> {
  await whole.declare(changes);
  return whole.stack.preview();
}
