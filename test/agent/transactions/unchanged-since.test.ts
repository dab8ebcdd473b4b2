import assert from "node:assert/strict";
import test from "node:test";
import type { Desired } from "../../../src/agent/state/desired";
import { unchangedSince } from "../../../src/agent/transactions/unchanged-since";
import { backendSpec } from "../../../src/model/edge/backend";
import { poolSpec } from "../../../src/model/pool/pool";
import { begin, finished, newPool } from "../../../src/model/pool/pool-promotion";
import type { PoolState, SpecWithoutSecrets } from "../../../src/model/pool/pool-state";
import { routeSpec } from "../../../src/model/route/route";

const [THEN, NOW] = ["2026-11-20T00:00:00.000Z", "2026-11-21T00:00:00.000Z"];

function pool(release: string, before?: PoolState): PoolState {
  const spec = poolSpec.parse({
    ...{ edge: "main", release: { id: release, path: `/srv/${release}` }, ports: { from: 20_000, to: 20_009 } },
    processes: { web: { policy: "proxied", command: ["web"], health: { path: "/" } } },
  }) as unknown as SpecWithoutSecrets;
  let port = 20_000;
  return finished(
    begin(before ?? newPool(spec), spec, () => port++),
    new Date(0),
  );
}

function host(more: Partial<Desired> = {}): Desired {
  const api = routeSpec.parse({ edges: ["main"], stable: "blue", candidate: "green", split: 0 });
  return { edges: {}, backends: {}, pools: {}, routes: { api }, ...more };
}

function held(before: Desired, after: Desired): string | undefined {
  return unchangedSince({ ...before, routesSince: { api: THEN } }, after, NOW).api;
}

test("a route that did not change keeps its time; one that did begins anew", () => {
  assert.equal(held(host(), host()), THEN);
  const route = routeSpec.parse({ edges: ["main"], stable: "blue", candidate: "green", split: 100 });
  assert.equal(held(host(), host({ routes: { api: route } })), NOW);
  assert.equal(unchangedSince({ ...host({ routes: {} }), routesSince: {} }, host(), NOW).api, NOW);
});

test("a new release of the candidate or the shadow is not judged by what the one before has shown", () => {
  const green = pool("v1");
  const [before, same] = [host({ pools: { green } }), host({ pools: { green: { ...green } } })];
  assert.equal(held(before, same), THEN);
  assert.equal(held(before, host({ pools: { green: pool("v2", green) } })), NOW);
  assert.equal(held(before, host({ pools: { green, blue: pool("v9") } })), THEN, "the stable side may change");
  const dark = routeSpec.parse({ edges: ["main"], stable: "blue", mirror: { to: "dark", share: "10%" }, split: 0 });
  const mirrored = (state: PoolState) => host({ routes: { api: dark }, pools: { dark: state } });
  assert.equal(held(mirrored(green), mirrored(green)), THEN);
  assert.equal(held(mirrored(green), mirrored(pool("v2", green))), NOW);
});

test("a declared candidate stays the same while one of its servers does", () => {
  const servers = (...ports: number[]) =>
    host({
      backends: {
        "main/green": backendSpec.parse({
          servers: Object.fromEntries(ports.map((port) => [`s${port}`, { address: "10.0.0.1", port }])),
        }),
      },
    });
  assert.equal(held(servers(1, 2), servers(2, 3)), THEN);
  assert.equal(held(servers(1, 2), servers(3, 4)), NOW);
  assert.equal(held(host(), servers(1)), NOW, "it was not there");
});
