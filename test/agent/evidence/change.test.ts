import assert from "node:assert/strict";
import test from "node:test";
import { describeChange } from "../../../src/agent/evidence/change";
import type { Desired } from "../../../src/agent/state/desired";
import { edgeSpec } from "../../../src/model/edge/edge";
import { poolSpec } from "../../../src/model/pool/pool";
import { begin, finished, newPool, switched } from "../../../src/model/pool/pool-promotion";
import type { PoolState, SpecWithoutSecrets } from "../../../src/model/pool/pool-state";

function spec(
  release: string,
  secretEnv: Record<string, string>,
  env: Record<string, string> = {},
): SpecWithoutSecrets {
  const parsed = poolSpec.parse({
    ...{ edge: "main", release: { id: release, path: `/srv/${release}` }, ports: { from: 20_000, to: 20_009 } },
    processes: { web: { policy: "proxied", command: ["web"], env, health: { path: "/" } } },
  });
  const web = parsed.processes.web;
  assert.ok(web !== undefined);
  return { ...parsed, processes: { web: { ...web, secretEnv } } };
}

function host(meter: boolean, web: PoolState | undefined): Desired {
  const frontends = { http: { binds: [{ port: 8080 }], defaultBackend: "web" } };
  return {
    edges: { main: edgeSpec.parse({ meter, frontends }) },
    backends: {},
    routes: {},
    pools: web === undefined ? {} : { web },
  };
}

const allocate = () => 20_000;
const v1 = spec("v1", { TOKEN: "digest-1" }, { GREETING: "private" });
const v2 = spec("v2", { TOKEN: "digest-2" }, { GREETING: "private" });
const serving = finished(begin(newPool(v1), v1, allocate), new Date(0));
const promoting = begin(serving, v2, allocate);

test("a promotion's sides are its releases, its share goes over with the switch, and no value of its environment shows", () => {
  const before = describeChange("pool/web", host(true, serving), host(true, serving));
  assert.deepEqual([before.changes, before.split, before.sides.map(({ role }) => role)], [[], 0, ["all"]]);
  const started = describeChange("pool/web", host(true, serving), host(true, promoting));
  assert.deepEqual(started.summary, { from: "v1", to: "v2" });
  assert.deepEqual(started.changes, [
    { path: "release.id", from: "v1", to: "v2" },
    { path: "release.path", from: "/srv/v1", to: "/srv/v2" },
    { path: "processes.web.env.TOKEN", from: "(hidden)", to: "(hidden), changed" },
  ]);
  assert.deepEqual(started.sides, [
    { role: "stable", label: "v1", edges: ["main"], backend: "web", release: "v1" },
    { role: "candidate", label: "v2", edges: ["main"], backend: "web", release: "v2" },
  ]);
  assert.equal(started.split, 0);
  const moved = describeChange("pool/web", host(true, serving), host(true, switched(promoting)));
  assert.deepEqual([moved.split, moved.unmeasured], [10_000, undefined]);
  const all = JSON.stringify([before, started, moved]);
  assert.doesNotMatch(all, /private|digest/);
});

test("a change of an edge without a meter says why there are no charts; one that removes something says so", () => {
  const first = describeChange("pool/web", host(false, undefined), host(false, begin(newPool(v1), v1, allocate)));
  assert.deepEqual(first.summary, { from: null, to: "v1" });
  assert.deepEqual(first.sides, [{ role: "candidate", label: "v1", edges: [], backend: "web", release: "v1" }]);
  assert.match(first.unmeasured ?? "", /^requests were not counted: main is not metered; /);
  const removed = describeChange("pool/web", host(true, serving), host(true, undefined));
  assert.deepEqual([removed.summary, removed.split], [{ from: "v1", to: null }, 0]);
  assert.ok(removed.changes.every(({ to }) => to === null));
});
