import assert from "node:assert/strict";
import test from "node:test";
import { routeResource } from "../../../src/provider/resources/route";
import type { Context } from "../../../src/provider/server";

test("a secret that would select a route's requests is refused, by its path and without its value", async () => {
  const silent = () => undefined;
  const context: Context = {
    urn: "urn:pulumi:dev::test::sluice:index:Route::api",
    name: "api",
    type: routeResource.type,
    preview: true,
    signal: new AbortController().signal,
    log: { debug: silent, info: silent, warn: silent, error: silent, progress: silent },
    secrets: ['match.headers["x-token"]', "testers.value", "stages[0].gates[0].url"],
  };
  const news = {
    agent: { directory: "/nowhere", socket: "/nowhere/a.sock" },
    name: "api",
    edges: ["main"],
    match: { headers: { "x-token": "hunter2-hunter2" } },
    testers: { header: "x-tester", value: "hunter2-hunter2" },
    stable: "blue",
    candidate: "green",
  };
  const { failures } = await routeResource.check(context, { olds: undefined, news });
  assert.deepEqual(
    failures.map(({ property }) => property),
    ['match.headers["x-token"]', "testers.value"],
  );
  for (const { reason } of failures)
    assert.match(reason, /^is a secret, which HAProxy's config and the evidence would show: /);
});
