import assert from "node:assert/strict";
import test from "node:test";
import type { PoolInput } from "../../../src/model/pool/pool";
import { backendOf } from "../../../src/model/pool/pool-backend";
import { instancesOf, replicaKeys, serverName, servingInstances } from "../../../src/model/pool/pool-instances";
import { begin, finished, followed, isNewGeneration, newPool, switched } from "../../../src/model/pool/pool-promotion";
import { type PoolState, poolState, type SpecWithoutSecrets, takenPorts } from "../../../src/model/pool/pool-state";
import type { Release } from "../../../src/model/pool/release";
import { allocator, WEB, withoutSecrets } from "../support/pools";

const NOW = new Date("2026-11-21T12:00:00Z");
const daysLater = (days: number) => new Date(NOW.getTime() + days * 86_400_000);

const ALL: PoolInput["processes"] = {
  jobs: { policy: "singleton", command: ["jobs"], port: true },
  web: { ...WEB, replicas: 2 },
  redis: { policy: "service", command: ["redis"], port: 6379 },
  side: { policy: "companion", command: ["side"], port: true },
};
const release = (id: string): Release => ({ id, path: `/srv/app/${id}` });
const full = (id: string, parts: Partial<PoolInput> = {}) =>
  withoutSecrets({ release: release(id), processes: ALL, ...parts });

function promote(state: PoolState | undefined, spec: SpecWithoutSecrets, now = NOW): PoolState {
  const base = state ?? newPool(spec);
  const begun = begin(base, spec, allocator(takenPorts(base).map(({ port }) => port)));
  return finished(followed(switched(begun)), now);
}

const ids = (state: PoolState) => instancesOf("app", state).map(({ id }) => id);

test("a new pool runs nothing", () => {
  const state = newPool(full("v1"));
  assert.deepEqual(instancesOf("app", state), []);
  assert.deepEqual(servingInstances("app", state), []);
  assert.equal(isNewGeneration(undefined, full("v1")), true);
  assert.equal(isNewGeneration(state, full("v1")), true);
});

test("processes are listed in the order in which they start: services, companions, proxied, singletons", () => {
  assert.deepEqual(ids(promote(undefined, full("v1"))), [
    "app.service.redis",
    "app.1.side.0",
    "app.1.web.0",
    "app.1.web.1",
    "app.1.jobs.0",
  ]);
});

test("an instance knows its port and those of the other processes of its release", () => {
  const instances = instancesOf("app", promote(undefined, full("v1")));
  const shown = instances.map(({ key, port, ports }) => ({ key, port, ports }));
  const ports = { redis: 6379, jobs: 20_000, web: 20_001, side: 20_003 };
  assert.deepEqual(shown, [
    { key: "redis", port: 6379, ports: { redis: 6379 } },
    { key: "side#0", port: 20_003, ports },
    { key: "web#0", port: 20_001, ports },
    { key: "web#1", port: 20_002, ports },
    { key: "jobs", port: 20_000, ports },
  ]);
});

test("each step of a promotion changes what it is named for, and nothing else", () => {
  const old = promote(undefined, full("v1"));
  const begun = begin(old, full("v2"), allocator(takenPorts(old).map(({ port }) => port)));
  const sideBySide = [
    "app.service.redis",
    "app.1.side.0",
    "app.2.side.0",
    "app.1.web.0",
    "app.1.web.1",
    "app.2.web.0",
    "app.2.web.1",
  ];
  const serving = (state: PoolState) => servingInstances("app", state).map(serverName);
  assert.deepEqual(ids(begun), [...sideBySide, "app.1.jobs.0"]);
  assert.deepEqual(serving(begun), ["web-1-0", "web-1-1"]);
  assert.equal(begun.services.redis?.release.id, "v1");

  const on = switched(begun);
  assert.deepEqual(ids(on), ids(begun));
  assert.deepEqual(serving(on), ["web-2-0", "web-2-1"]);

  const after = followed(on);
  assert.deepEqual(ids(after), [...sideBySide, "app.2.jobs.0"]);
  assert.equal(after.services.redis?.release.id, "v2");

  const done = finished(after, NOW);
  assert.deepEqual(ids(done), ["app.service.redis", "app.2.side.0", "app.2.web.0", "app.2.web.1", "app.2.jobs.0"]);
  assert.deepEqual(serving(done), ["web-2-0", "web-2-1"]);
  assert.deepEqual([done.next, done.serving, done.singletonsOf], [undefined, "current", "current"]);
});

test("a service that is missing starts with the candidate, and one that is gone stops with the follow", () => {
  const { redis: _redis, ...without } = ALL;
  const old = promote(undefined, full("v1", { processes: without }));
  const begun = begin(old, full("v2"), allocator());
  assert.equal(begun.services.redis?.release.id, "v2");
  const back = begin(promote(old, full("v2")), full("v3", { processes: without }), allocator());
  assert.ok(ids(switched(back)).includes("app.service.redis"));
  assert.ok(!ids(followed(switched(back))).includes("app.service.redis"));
});

test("a service that is down starts from the candidate's template, with the replicas that it has", () => {
  const service = (version: string, replicas: number) => ({
    ...ALL,
    redis: { policy: "service" as const, command: ["redis", version], replicas },
    other: { policy: "service" as const, command: ["other", version] },
  });
  const old = promote(undefined, full("v1", { processes: service("1", 2) }));
  const spec = full("v2", { processes: service("2", 3) });
  const begun = begin(old, spec, allocator(takenPorts(old).map(({ port }) => port)), {
    down: new Set(["redis", "unknown"]),
  });
  const seen = ({ services }: PoolState) =>
    Object.entries(services).map(([id, { generation, template }]) => [
      id,
      generation,
      template.command,
      template.replicas,
    ]);
  assert.deepEqual(seen(begun), [
    ["redis", 2, ["redis", "2"], 2],
    ["other", 1, ["other", "1"], 1],
  ]);
  assert.deepEqual(seen(followed(begun)), [
    ["redis", 2, ["redis", "2"], 3],
    ["other", 2, ["other", "2"], 1],
  ]);
});

test("the steps without a candidate change nothing", () => {
  const state = promote(undefined, full("v1"));
  for (const step of [switched, followed, (before: PoolState) => finished(before, NOW)])
    assert.equal(step(state), state);
});

const live: [string, Partial<PoolInput>][] = [
  ["replicas", { processes: { ...ALL, web: { ...WEB, replicas: 5 } } }],
  ["the stop signal", { processes: { ...ALL, web: { ...WEB, replicas: 2, stopSignal: "SIGINT" } } }],
  ["the graceful stop", { processes: { ...ALL, web: { ...WEB, replicas: 2, gracefulStop: "1 minute" } } }],
  ["the drain deadline", { drainDeadline: "5 minutes" }],
  ["the retention", { retain: { count: 1, age: "1 day" } }],
  ["the balance", { balance: "leastconn" }],
  ["the port range", { ports: { from: 30_000, to: 30_999 } }],
];
for (const [what, parts] of live)
  test(`a change of ${what} is live: the generation stays, and so do the ids and ports`, () => {
    const old = promote(undefined, full("v1"));
    const spec = full("v1", parts);
    assert.equal(isNewGeneration(old, spec), false);
    const done = promote(old, spec);
    assert.deepEqual([done.current?.number, done.lastGeneration, done.retained], [1, 1, []]);
    const before = instancesOf("app", old);
    for (const { id, port } of before)
      assert.equal(instancesOf("app", done).find((instance) => instance.id === id)?.port, port, id);
    assert.equal(done.settings.drainDeadline, spec.drainDeadline);
  });

const web = (parts: object): Partial<PoolInput> => ({ processes: { ...ALL, web: { ...WEB, replicas: 2, ...parts } } });
const fresh: [string, Partial<PoolInput>][] = [
  ["the release's id", { release: release("v2") }],
  ["the release's path", { release: { id: "v1", path: "/srv/other" } }],
  ["the release's revision", { release: { ...release("v1"), revision: "abc" } }],
  ["the environment", web({ env: { LEVEL: "debug" } })],
  ["the command", web({ command: ["node", "other.js"] })],
  ["the order of arguments", web({ command: ["server.js", "node"] })],
  ["the folder", web({ cwd: "/" })],
  ["the health check", web({ health: { path: "/other" } })],
  ["a process less", { processes: { web: { ...WEB, replicas: 2 } } }],
];
for (const [what, parts] of fresh)
  test(`a change of ${what} is a new generation`, () => {
    const old = promote(undefined, full("v1"));
    assert.equal(isNewGeneration(old, full("v1", parts)), true);
    assert.equal(promote(old, full("v1", parts)).current?.number, 2);
  });

test("a changed secret is a new generation, the same secret is not", () => {
  const secret = (digest: string) => withoutSecrets({ processes: { web: WEB } }, { web: { TOKEN: digest } });
  const old = promote(undefined, secret("aa"));
  assert.equal(isNewGeneration(old, secret("aa")), false);
  assert.equal(isNewGeneration(old, secret("ab")), true);
  assert.equal(isNewGeneration(old, withoutSecrets({ processes: { web: WEB } })), true);
});

test("the order of keys makes no difference, at any depth", () => {
  const reversed = <T>(value: T): T => {
    if (Array.isArray(value) || typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
      Object.entries(value)
        .reverse()
        .map(([key, inner]) => [key, reversed(inner)]),
    ) as T;
  };
  const spec = full("v1", web({ env: { A: "1", B: "2" } }));
  assert.equal(isNewGeneration(promote(undefined, spec), reversed(spec)), false);
});

test("an absent property is one that is undefined", () => {
  const spec = full("v1");
  const explicit = { ...spec, release: { ...spec.release, revision: undefined as never } };
  assert.equal(isNewGeneration(promote(undefined, spec), explicit), false);
});

test("scaling up keeps the ports of the replicas that stay, and asks for the missing ones only", () => {
  const old = promote(undefined, full("v1"));
  const requests: [string, number][] = [];
  const next = allocator([20_000, 20_001, 20_002, 20_003]);
  begin(old, full("v1", web({ replicas: 4 })), (key, generation) => {
    requests.push([key, generation]);
    return next();
  });
  assert.deepEqual(requests, [
    ["web#2", 1],
    ["web#3", 1],
  ]);
});

test("scaling down keeps all replicas until the commit, so that an undo costs nothing", () => {
  const old = promote(undefined, full("v1", web({ replicas: 3 })));
  const begun = begin(old, full("v1", web({ replicas: 1 })), () => assert.fail("no port is needed"));
  assert.deepEqual(new Set(ids(begun)), new Set(ids(old)));
  const on = switched(begun);
  assert.deepEqual(servingInstances("app", on).map(serverName), ["web-1-0"]);
  assert.deepEqual(new Set(ids(followed(on))), new Set(ids(old)));
  assert.deepEqual(
    ids(finished(followed(on), NOW)).filter((id) => id.includes("web")),
    ["app.1.web.0"],
  );
});

test("a generation is above those of an undone promotion whose processes still drain", () => {
  const old = promote(undefined, full("v1"));
  assert.equal(begin(old, full("v2"), allocator(), { above: 7 }).next?.number, 8);
  assert.equal(begin(old, full("v1", web({ replicas: 4 })), allocator(), { above: 7 }).next?.number, 1);
});

test("old releases are retained newest first, by count, each id once and never the current one", () => {
  const retain = { count: 2, age: "14 days" as const };
  const states: PoolState[] = [];
  for (const [index, id] of ["v1", "v2", "v3", "v4"].entries())
    states.push(promote(states.at(-1), full(id, { retain }), daysLater(index)));
  const shown = (state: PoolState | undefined) =>
    state?.retained.map((entry) => `${entry.release.id}@${entry.generation}`);
  assert.deepEqual(states.map(shown), [[], ["v1@1"], ["v2@2", "v1@1"], ["v3@3", "v2@2"]]);
  const back = promote(states.at(-1), full("v3", { retain }), daysLater(5));
  assert.deepEqual(shown(back), ["v4@4", "v2@2"]);
  const again = promote(back, full("v3", { retain, processes: { web: WEB } }), daysLater(6));
  assert.deepEqual(shown(again), ["v4@4", "v2@2"]);
});

test("a release older than the age is let go at the next commit, even of a live change", () => {
  const two = promote(promote(undefined, full("v1")), full("v2"));
  const kept = promote(two, full("v2", { drainDeadline: "2 minutes" }), daysLater(14));
  assert.deepEqual(
    kept.retained.map((entry) => entry.release.id),
    ["v1"],
  );
  assert.deepEqual(promote(two, full("v2", { drainDeadline: "3 minutes" }), daysLater(14.01)).retained, []);
});

test("with a count of 0 nothing is retained", () => {
  const retain = { count: 0 };
  assert.deepEqual(promote(promote(undefined, full("v1", { retain })), full("v2", { retain })).retained, []);
});

test("a backend serves the proxied replicas on the loopback address, checked where they are probed", () => {
  assert.deepEqual(
    backendOf("app", promote(undefined, full("v1", { balance: "random", drainDeadline: "5 seconds" }))),
    {
      balance: "random",
      retry: "connection",
      drainDeadline: "5 seconds",
      health: { path: "/healthz", interval: "2 seconds", timeout: "2 seconds", rise: 2, fall: 3 },
      servers: {
        "web-1-0": { address: "127.0.0.1", port: 20_001, weight: 100, state: "ready" },
        "web-1-1": { address: "127.0.0.1", port: 20_002, weight: 100, state: "ready" },
      },
    },
  );
});

test("the longest name of a process still makes a server's name, in any generation", () => {
  const name = "a".repeat(40);
  const spec = withoutSecrets({ processes: { [name]: { ...WEB, replicas: 64 } } });
  const begun = begin(newPool(spec), spec, allocator(), { above: Number.MAX_SAFE_INTEGER - 1 });
  const servers = Object.keys(backendOf("app", switched(begun)).servers);
  assert.equal(servers.length, 64);
  assert.equal(servers.at(-1), `${name}-${Number.MAX_SAFE_INTEGER}-63`);
});

test("names of processes that look like suffixes still make different servers' names", () => {
  const names = [
    { process: "web", generation: 1, index: 2 },
    { process: "web-1", generation: 2, index: 0 },
    { process: "web-1-2", generation: 0, index: 1 },
    { process: "web", generation: 12, index: 0 },
    { process: "web-1", generation: 1, index: 2 },
  ].map(serverName);
  assert.equal(new Set(names).size, names.length);
});

test("replica keys are plain for what there is one of", () => {
  const keys = (policy: "proxied" | "companion" | "singleton" | "service") => replicaKeys("x", { policy, replicas: 2 });
  assert.deepEqual(
    [keys("proxied"), keys("companion")],
    [
      ["x#0", "x#1"],
      ["x#0", "x#1"],
    ],
  );
  assert.deepEqual(replicaKeys("x", { policy: "singleton", replicas: 1 }), ["x"]);
  assert.deepEqual(replicaKeys("x", { policy: "service", replicas: 1 }), ["x"]);
  assert.deepEqual(replicaKeys("x", { policy: "service", replicas: 2 }), ["x#0", "x#1"]);
});

test("a state survives its file", () => {
  const state = followed(switched(begin(promote(undefined, full("v1")), full("v2"), allocator())));
  assert.deepEqual(poolState.parse(JSON.parse(JSON.stringify(state))), JSON.parse(JSON.stringify(state)));
});
