import assert from "node:assert/strict";
import test from "node:test";
import { PropertyDiff } from "@pulumi/pulumi/proto/provider_pb";
import { diffValues, UNKNOWN } from "../../../../src/provider/server";
import { diffResponse } from "../../../../src/provider/server/values/diff";

test("differences are as deep as both sides have one shape", () => {
  const old = { same: 1, list: [1, 2], map: { "web#0": "maint", gone: 1 }, shape: {}, empty: null };
  const next = { same: 1, list: [1, 3, 4], map: { "web#0": "ready" }, shape: [], added: true };
  assert.deepEqual(diffValues(old, next, ["live"]), [
    { path: "live.list[1]", kind: "update" },
    { path: "live.list[2]", kind: "add" },
    { path: 'live.map["web#0"]', kind: "update" },
    { path: "live.map.gone", kind: "delete" },
    { path: "live.shape", kind: "update" },
    { path: "live.added", kind: "add" },
  ]);
});

test("a value that is not known yet counts as a change, and marks are passed on", () => {
  const marks = { replace: true, inputDiff: true };
  assert.deepEqual(diffValues({ a: 1 }, { a: UNKNOWN }, [], marks), [{ path: "a", kind: "update", ...marks }]);
  assert.deepEqual(diffValues({ a: {} }, { a: UNKNOWN }, []), [{ path: "a", kind: "update" }]);
});

test("the engine gets each entry's kind, and each top-level property once", () => {
  const response = diffResponse(
    {
      entries: [
        { path: "live.a", kind: "update" },
        { path: "live.b", kind: "add" },
        { path: "file", kind: "update", replace: true, inputDiff: true },
      ],
      deleteBeforeReplace: true,
      stables: ["id"],
    },
    [],
  ).toObject();
  assert.deepEqual(response.diffsList, ["live", "file"]);
  assert.deepEqual(response.replacesList, ["file"]);
  assert.deepEqual(response.stablesList, ["id"]);
  assert.deepEqual([response.changes, response.hasdetaileddiff, response.deletebeforereplace], [2, true, true]);
  assert.deepEqual(response.detaileddiffMap, [
    ["file", { kind: PropertyDiff.Kind.UPDATE_REPLACE, inputdiff: true }],
    ["live.a", { kind: PropertyDiff.Kind.UPDATE, inputdiff: false }],
    ["live.b", { kind: PropertyDiff.Kind.ADD, inputdiff: false }],
  ]);
});

test("what the program ignores is left out, so that a difference may end up as none", () => {
  const entries = [{ path: 'live.servers["web#0"]', kind: "update" as const }];
  const response = diffResponse({ entries }, ["live.servers"]).toObject();
  assert.deepEqual([response.changes, response.diffsList, response.detaileddiffMap], [1, [], []]);
});
