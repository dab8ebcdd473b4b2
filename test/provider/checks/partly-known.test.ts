import assert from "node:assert/strict";
import test from "node:test";
import { z } from "zod";
import { backendSpec } from "../../../src/model/edge/backend";
import { edgeSpec } from "../../../src/model/edge/edge";
import { migrationsSpec } from "../../../src/model/policy/migration-set";
import { poolSpec } from "../../../src/model/pool/pool";
import { checkedCanary } from "../../../src/model/pool/pool-share";
import { takeover } from "../../../src/model/process/takeover";
import { declaredRoute } from "../../../src/model/route/route";
import { whenKnown } from "../../../src/provider/checks/known";
import { partlyKnown } from "../../../src/provider/checks/partly-known";
import { failuresOf, UNKNOWN } from "../../../src/provider/server";

const release = { id: "v1", path: "/srv/v1" };
const web = { policy: "proxied", command: ["web"], health: { path: "/healthz" } };
const pool = { edge: "main", release, ports: { from: 20_000, to: 20_009 }, processes: { web } };
const bind = { port: 8080 };
const edge = { frontends: { http: { binds: [bind, { port: 8081 }], defaultBackend: "web" } }, metrics: { port: 9000 } };
const gates = [{ kind: "sli", thresholds: ["p95 < 500 ms"] }, { kind: "health" }];
const stages = [{ split: "10%", gates }, { split: "100%" }];
const route = {
  edges: ["main"],
  stable: "blue",
  candidate: "green",
  sticky: { by: "cookie", name: "side" },
  match: { headers: { "x-a": "b" } },
  mirror: { to: "shadow", share: "1%" },
  stages,
  stage: "10%",
};
const inputs = {
  pool: { schema: poolSpec, input: pool },
  edge: { schema: edgeSpec, input: { ...edge, takeover: [{ unit: "nginx.service" }] } },
  backend: { schema: backendSpec, input: { servers: { a: { address: "10.0.0.1", port: 80 } }, health: { path: "/" } } },
  route: { schema: declaredRoute, input: route },
  canary: { schema: checkedCanary, input: { release, processes: { web }, stages, stage: "10%" } },
  migrations: {
    schema: migrationsSpec,
    input: { folder: "/m", apply: { command: ["m"] }, applied: [], env: { A: "b" } },
  },
};

/** Every path of a value, each with the value in which it leads to something unknown. */
function* withOneUnknown(value: unknown, at: string[] = []): Generator<[path: string[], value: unknown]> {
  if (at.length > 0) yield [at, UNKNOWN];
  if (typeof value !== "object" || value === null) return;
  for (const [key, inner] of Object.entries(value))
    for (const [path, changed] of withOneUnknown(inner, [...at, key]))
      yield [path, Array.isArray(value) ? value.with(Number(key), changed) : { ...value, [key]: changed }];
}

/** Differences between two values, beside the parts that one of them does not know. */
function differing(one: unknown, other: unknown, at = ""): string[] {
  if (Object.is(one, other) || other === UNKNOWN) return [];
  if (typeof one !== "object" || one === null || typeof other !== "object" || other === null) return [at];
  const keys = [...new Set([...Object.keys(one), ...Object.keys(other)])];
  return keys.flatMap((key) =>
    differing((one as Record<string, unknown>)[key], (other as Record<string, unknown>)[key], `${at}.${key}`),
  );
}

for (const [name, { schema, input }] of Object.entries(inputs))
  test(`whatever is not known of a ${name}, all of its defaults hold`, () => {
    const whole = schema.parse(input);
    const cases = [...withOneUnknown(input)];
    for (const [path, changed] of cases) {
      const { data, error } = partlyKnown(schema as z.ZodType).safeParse(changed);
      assert.deepEqual(error?.issues ?? [], [], path.join("."));
      assert.deepEqual(differing(whole, data), [], path.join("."));
    }
    assert.ok(cases.length > 5);
  });

const problems = (schema: z.ZodType, input: unknown) => {
  const { error } = partlyKnown(schema).safeParse(input);
  return error === undefined ? [] : failuresOf(error).map(({ property }) => property);
};

test("problems of what is known come at once, whatever is not", () => {
  assert.deepEqual(
    problems(poolSpec, {
      ...pool,
      release: { id: "v 1", path: UNKNOWN },
      ports: { from: 20_000, to: 20_000 },
      drainDeadline: "soon",
      processes: {
        web: { ...web, env: { "A B": "x", C: UNKNOWN }, command: ["a", UNKNOWN, 5] },
        job: { policy: "proxied", command: ["job", "{{prot}}", UNKNOWN], health: UNKNOWN, handof: true },
      },
    }),
    [
      "release.id",
      "processes.web.command",
      'processes.web.env["A B"]',
      "processes.job.handof",
      "drainDeadline",
      "processes",
      "processes.job.command[1]",
      "ports",
    ],
  );
  assert.deepEqual(problems(declaredRoute, { ...route, stages: [{ split: UNKNOWN }, { split: "much" }], stable: 5 }), [
    "stable",
    "stages[1].split",
  ]);
});

test("checks across properties conclude nothing from what is not known", () => {
  const stage = { ...route, stages: [{ split: UNKNOWN }, { split: "100%" }], stage: "25%" };
  assert.deepEqual(problems(declaredRoute, stage), []);
  assert.deepEqual(problems(declaredRoute, { ...route, candidate: UNKNOWN, stable: "blue" }), []);
  const twice = { http: { ...edge.frontends.http, binds: [{ port: UNKNOWN }, { port: UNKNOWN }] } };
  assert.deepEqual(problems(edgeSpec, { ...edge, frontends: twice }), []);
  assert.deepEqual(problems(takeover, [{ port: UNKNOWN }, { port: UNKNOWN }]), []);
  const { edge: _edge, ...loose } = pool;
  assert.deepEqual(problems(poolSpec, { ...loose, strategy: UNKNOWN, ports: { from: 20_000, to: 20_000 } }), []);
  const process = (changes: object) => ({ ...pool, processes: { web: { ...web, ...changes } } });
  for (const changes of [
    { env: UNKNOWN, secrets: { TOKEN: { fd: 3 } } },
    { env: { TOKEN: UNKNOWN }, secrets: { TOKEN: { fd: 3 } } },
    { shell: UNKNOWN, command: "run" },
    { command: ["run", "{{release.revision}}"] },
    { lifecycle: { drain: ["d"], drainTimeout: UNKNOWN } },
    { policy: UNKNOWN, health: UNKNOWN },
  ])
    assert.deepEqual(
      problems(poolSpec, { ...process(changes), release: UNKNOWN }),
      [],
      JSON.stringify(Object.keys(changes)),
    );
  const service = { policy: "service", command: ["s"], port: UNKNOWN, handoff: true };
  assert.deepEqual(problems(poolSpec, { ...pool, processes: { web, service } }), []);
});

test("a union is the one of its members that fits, and not known as a whole where members differ", () => {
  const parse = (sticky: unknown) => partlyKnown(declaredRoute).parse({ ...route, sticky }).sticky;
  assert.deepEqual(parse({ by: UNKNOWN }), { by: UNKNOWN });
  assert.deepEqual(parse({ by: "cookie", name: UNKNOWN }), { by: "cookie", name: UNKNOWN });
  const shape = { kind: z.literal("a"), size: z.number().default(1) };
  const either = z.discriminatedUnion("kind", [
    z.strictObject(shape),
    z.strictObject({ kind: z.literal("b"), size: z.number().default(2) }),
  ]);
  assert.equal(partlyKnown(either).parse({ kind: UNKNOWN }), UNKNOWN);
  assert.deepEqual(partlyKnown(either).parse({ kind: UNKNOWN, size: 3 }), { kind: UNKNOWN, size: 3 });
  assert.deepEqual(problems(either, { kind: UNKNOWN, size: "3" }), [""]);
});

test("a function of inputs gives what depends on nothing unknown", () => {
  const given = {
    a: 1,
    list: [
      { b: UNKNOWN, c: 2 },
      { b: 3, c: 4 },
    ],
  };
  assert.deepEqual(
    whenKnown(given, ({ a, list }) => ({ a, c: list.map(({ c }) => c), last: list[1] })),
    { a: 1, c: [2, 4], last: { b: 3, c: 4 } },
  );
  assert.equal(
    whenKnown(given, ({ list }) => list.map(({ b }) => b === 3)),
    UNKNOWN,
  );
  assert.equal(
    whenKnown({ text: UNKNOWN as unknown as string }, ({ text }) => text.trim()),
    UNKNOWN,
  );
  assert.throws(
    () =>
      whenKnown(given, () => {
        throw new Error("a mistake");
      }),
    /a mistake/,
  );
});
