import assert from "node:assert/strict";
import test from "node:test";
import { claimProblem } from "../../../src/model/protocol/ownership";

const urn = (stack: string, name: string, project = "shop") =>
  `urn:pulumi:${stack}::${project}::sluice:index:Pool::${name}`;
const [MINE, OTHERS] = ["a".repeat(24), "b".repeat(24)];
const WEB = urn("prod", "web");
const MOVED = /^pool\/web is not removed for urn:.*::web: it belongs to urn:.*::www now$/;
const FOREIGN =
  /^pool\/web belongs to stack prod of project shop \(urn:.*::web\): destroy it there, move that resource here with "pulumi state move", or use another name; if that stack is gone for good, run "sluice agent disown shop\/prod" on the agent's host$/;

type Case = [
  name: string,
  known: Parameters<typeof claimProblem>[1],
  claim: Parameters<typeof claimProblem>[2],
  problem?: RegExp,
];
const CASES: Case[] = [
  ["a create of what nobody has", undefined, { kind: "create", urn: WEB, token: MINE }],
  ["a create again, whose record is lost", { urn: WEB, token: OTHERS }, { kind: "create", urn: WEB, token: MINE }],
  ["a create of another name", { urn: WEB, token: OTHERS }, { kind: "create", urn: urn("prod", "www"), token: MINE }],
  ["a create in another stack", { urn: WEB, token: OTHERS }, { kind: "create", urn: urn("dev", "web") }, FOREIGN],
  ["a create in another project", { urn: WEB }, { kind: "create", urn: urn("prod", "web", "blog") }, FOREIGN],
  ["a change by its owner", { urn: WEB, token: MINE }, { kind: "change", urn: WEB, token: MINE }],
  ["a change in a renamed stack", { urn: WEB, token: MINE }, { kind: "change", urn: urn("dev", "web"), token: MINE }],
  ["a change with an older record", { urn: WEB, token: OTHERS }, { kind: "change", urn: WEB, token: MINE }],
  [
    "a change in a stack that does not have it",
    { urn: WEB, token: OTHERS },
    { kind: "change", urn: urn("dev", "web"), token: MINE },
    FOREIGN,
  ],
  ["a first change since tokens", { urn: WEB }, { kind: "change", urn: urn("dev", "web"), token: MINE }],
  ["a removal by its owner", { urn: WEB, token: MINE }, { kind: "remove", urn: WEB, token: MINE }],
  ["a removal in a renamed stack", { urn: WEB, token: MINE }, { kind: "remove", urn: urn("dev", "web"), token: MINE }],
  ["a removal since before tokens", { urn: WEB }, { kind: "remove", urn: WEB }],
  [
    "a removal by who had it before",
    { urn: urn("prod", "www"), token: OTHERS },
    { kind: "remove", urn: WEB, token: MINE },
    MOVED,
  ],
  [
    "a removal by who had it before tokens",
    { urn: urn("prod", "www"), token: OTHERS },
    { kind: "remove", urn: WEB },
    MOVED,
  ],
];

for (const [name, known, claim, problem] of CASES)
  test(`${name} is ${problem === undefined ? "allowed" : "refused"}`, () => {
    const found = claimProblem("pool/web", known, claim);
    if (problem === undefined) assert.equal(found, undefined);
    else assert.match(found ?? "", problem);
  });
