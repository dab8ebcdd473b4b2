import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import type { PoolInput } from "../../../src/model/pool/pool";
import { backendOf } from "../../../src/model/pool/pool-backend";
import { instancesOf, serverName, servingInstances } from "../../../src/model/pool/pool-instances";
import { begin, finished, followed, isNewGeneration, newPool, switched } from "../../../src/model/pool/pool-promotion";
import { type PoolState, poolState, type SpecWithoutSecrets } from "../../../src/model/pool/pool-state";
import { WEB, withoutSecrets } from "../support/pools";

/**
 * A host in memory: what is committed, and every process that is still there, wanted or draining. It does with the pure
 * steps what an agent does, and looks at the laws after each.
 */
class ModelHost {
  committed: PoolState;
  /** Ports by id of processes that are there. A process keeps its port as long as it is. */
  private readonly running = new Map<string, { port: number | undefined; generation: number; key: string }>();
  private now = Date.parse("2026-01-01T00:00:00Z");

  constructor(spec: SpecWithoutSecrets) {
    this.committed = newPool(spec);
  }

  /** Promotes up to a point: what is not finished is undone. */
  promote(spec: SpecWithoutSecrets, end: "begun" | "switched" | "followed" | "finished"): void {
    const before = deepFreeze(this.committed);
    const above = Math.max(0, ...[...this.running.values()].map(({ generation }) => generation));
    const isFresh = isNewGeneration(before, spec);
    const begun = deepFreeze(begin(before, spec, (key, generation) => this.port(key, generation), { above }));
    const number = begun.next?.number ?? 0;
    if (isFresh) assert.ok(number > above && number > before.lastGeneration, "a new generation is above all others");
    else assert.equal(number, before.current?.number, "a live change keeps the generation");
    const on = deepFreeze(switched(begun));
    const after = deepFreeze(followed(on));
    const steps = { begun: [begun], switched: [begun, on], followed: [begun, on, after], finished: [begun, on, after] };
    for (const state of steps[end]) this.converge(state);
    if (end !== "finished") {
      this.converge(before);
      assert.deepEqual(ids(this.committed), ids(before), "an undo is exactly the old state");
      return;
    }
    this.now += 3_600_000;
    this.committed = deepFreeze(finished(after, new Date(this.now)));
    assert.ok(this.committed.lastGeneration >= before.lastGeneration, "generation numbers only rise");
    assert.equal(this.committed.current?.release.id, spec.release.id);
    this.checkRetained();
    this.converge(this.committed);
    const plain = JSON.parse(JSON.stringify(this.committed));
    assert.deepEqual(poolState.parse(plain), plain, "a state survives its file");
  }

  /** Lets draining processes end. */
  settle(): void {
    const wanted = new Set(ids(this.committed));
    for (const id of this.running.keys()) if (!wanted.has(id)) this.running.delete(id);
  }

  private port(key: string, generation: number): number {
    const processes = [...this.running.values()];
    const held = processes.find((process) => process.key === key && process.generation === generation)?.port;
    if (held !== undefined) return held;
    const taken = new Set([...processes.map(({ port }) => port), ...this.promised]);
    for (let port = 20_000; ; port += 1) {
      if (taken.has(port)) continue;
      this.promised.add(port);
      return port;
    }
  }

  /** Ports given within one promotion, before its processes are there. */
  private readonly promised = new Set<number>();

  private converge(state: PoolState): void {
    const instances = instancesOf("app", state);
    assert.equal(new Set(instances.map(({ id }) => id)).size, instances.length, "ids are unique");
    const singletons = instances
      .filter(({ template }) => template.policy === "singleton")
      .map(({ process }) => process);
    assert.equal(new Set(singletons).size, singletons.length, "at most one of each singleton is wanted");
    const order = ["service", "companion", "proxied", "singleton"];
    const ranks = instances.map(({ template }) => order.indexOf(template.policy));
    assert.deepEqual(ranks, ranks.toSorted(), "instances are in start order");
    for (const { id, port, generation, key, template } of instances) {
      const there = this.running.get(id);
      if (there !== undefined && template.policy !== "service")
        assert.equal(there.port, port, `${id} is there with another port`);
      this.running.set(id, { port, generation, key });
    }
    const ports = [...this.running.values()].flatMap(({ port }) => port ?? []);
    assert.equal(new Set(ports).size, ports.length, "no two processes share a port, also not with one that drains");
    this.checkServers(state);
    this.promised.clear();
  }

  private checkServers(state: PoolState): void {
    const serving = servingInstances("app", state);
    const backend = backendOf("app", state);
    assert.deepEqual(Object.keys(backend.servers).toSorted(), serving.map(serverName).toSorted());
    assert.ok(new Set(serving.map(({ generation }) => generation)).size <= 1, "one side serves");
    const wanted = new Set(ids(state));
    for (const { id } of serving) assert.ok(wanted.has(id), "what serves runs");
  }

  private checkRetained(): void {
    const { retained, current, settings } = this.committed;
    const releases = retained.map(({ release }) => release.id);
    assert.equal(new Set(releases).size, releases.length, "each release is retained once");
    assert.ok(!releases.includes(current?.release.id ?? ""), "what serves is not retained");
    assert.ok(releases.length <= settings.retain.count);
    const times = retained.map(({ retiredAt }) => retiredAt);
    assert.deepEqual(times, times.toSorted().reverse(), "newest first");
  }
}

function ids(state: PoolState): string[] {
  return instancesOf("app", state).map(({ id }) => id);
}

/** A step that changed what it was given would throw. */
function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}

const spec = fc
  .record({
    release: fc.constantFrom("v1", "v2", "v3"),
    replicas: fc.integer({ min: 1, max: 3 }),
    level: fc.constantFrom("info", "debug"),
    extras: fc.subarray(["jobs", "side", "redis"]),
    swapped: fc.boolean(),
    count: fc.integer({ min: 0, max: 2 }),
  })
  .map(({ release, replicas, level, extras, swapped, count }) => {
    const jobs: PoolInput["processes"] = {
      jobs: { policy: swapped ? "companion" : "singleton", command: ["jobs"], port: true },
      side: { policy: swapped ? "singleton" : "companion", command: ["side"], port: true },
      redis: { policy: "service", command: ["redis"], port: swapped ? 6379 : 6380 },
    };
    const others = Object.fromEntries(Object.entries(jobs).filter(([id]) => extras.includes(id)));
    return withoutSecrets({
      release: { id: release, path: `/srv/${release}` },
      processes: { ...others, web: { ...WEB, replicas, env: { LEVEL: level } } },
      retain: { count, age: "14 days" },
    });
  });
const end = fc.constantFrom("begun", "switched", "followed", "finished", "finished", "finished");
const action = fc.oneof(
  { weight: 5, arbitrary: fc.record({ spec, end }) },
  { weight: 1, arbitrary: fc.constant("settle" as const) },
);

test("no sequence of promotions, undos, rollbacks and live changes breaks the laws of a pool", () => {
  fc.assert(
    fc.property(spec, fc.array(action, { maxLength: 10 }), (first, actions) => {
      const host = new ModelHost(first);
      host.promote(first, "finished");
      for (const next of actions) {
        if (next === "settle") host.settle();
        else host.promote(next.spec, next.end);
      }
    }),
    { numRuns: 50 },
  );
});
