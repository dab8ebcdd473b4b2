import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { type PoolInput, poolSpec } from "../../../src/model/pool/pool";
import { hasPort, portsPerRelease, takesFromRange } from "../../../src/model/pool/pool-ports";
import { fill } from "../../../src/model/process/template";
import { poolInput, problems, WEB, web } from "../support/pools";

test("a pool has defaults for all but its edge, release, ports and processes", () => {
  const { processes, ...rest } = poolSpec.parse(poolInput());
  assert.deepEqual(rest, {
    strategy: "side-by-side",
    edge: "main",
    release: { id: "v1", path: "/srv/app/v1" },
    ports: { from: 20_000, to: 20_999 },
    balance: "roundrobin",
    retry: "connection",
    drainDeadline: "1 minute",
    retain: { count: 5, age: "14 days" },
  });
  assert.deepEqual(processes.web, {
    policy: "proxied",
    command: ["node", "server.js"],
    shell: false,
    cwd: "{{release.path}}",
    env: {},
    secrets: {},
    replicas: 1,
    health: {
      path: "/healthz",
      startDelay: "0 seconds",
      interval: "250 milliseconds",
      timeout: "2 seconds",
      deadline: "1 minute",
      checkInterval: "5 seconds",
      rise: 1,
      fall: 3,
    },
    limits: { optional: false },
    lifecycle: { quietTimeout: "10 seconds", drainTimeout: "0 seconds" },
    nonBlockingDrain: false,
    handoff: false,
    output: { maxSize: "8 MiB", keep: 1 },
    outputLines: 10,
    stopSignal: "SIGTERM",
    minUptime: "500 milliseconds",
    gracefulStop: "10 seconds",
    restart: { delay: "1 second", factor: 2, cap: "30 seconds", jitter: 0.1, maxRestarts: 20, window: "10 minutes" },
  });
});

test("parsing twice is parsing once", () => {
  const spec = poolSpec.parse(
    poolInput({ processes: { web: WEB, jobs: { policy: "singleton", command: "run it", shell: true } } }),
  );
  assert.deepEqual(poolSpec.parse(spec), spec);
});

test("no input whatever makes the schema throw", () => {
  const anything = fc.anything({ withNullPrototype: true, withBigInt: true, maxDepth: 2 });
  const keys = ["edge", "release", "ports", "processes", "balance", "retain", "drainDeadline"] as const;
  const odd = fc.record(Object.fromEntries(keys.map((key) => [key, anything])), { requiredKeys: [] });
  const template = fc.record({
    policy: anything,
    command: anything,
    env: anything,
    health: anything,
    port: anything,
    cwd: anything,
  });
  const nested = fc.record({
    edge: anything,
    processes: fc.dictionary(fc.string({ maxLength: 3 }), template, { maxKeys: 2 }),
    ports: fc.record({ from: anything, to: anything }),
  });
  fc.assert(
    fc.property(fc.oneof(anything, odd, nested), (input) => {
      for (const problem of problems(poolSpec, input))
        assert.ok(problem.length > 3 && !problem.includes("Invalid input"), problem);
    }),
    { numRuns: 300 },
  );
});

test("what a shell gets of a release is one word without any meaning to it", () => {
  const word = fc.oneof(
    fc.constantFrom("$(reboot)", "a b", "v1;x", "`x`", "feature/ü", "v1", "a1b2c3", "x|y", "*", "~", "a\\b"),
    fc.string({ unit: "grapheme", maxLength: 6 }),
  );
  fc.assert(
    fc.property(word, word, (revision, folder) => {
      const release = { id: "v1", path: `/${folder}`, revision };
      const input = {
        ...web({ shell: true, command: "{{release.path}} {{release.revision}} {{release.id}}" }),
        release,
      };
      if (!poolSpec.safeParse(input).success) return;
      const filled = fill("{{release.path}} {{release.revision}} {{release.id}}", {
        release,
        process: { id: "web#0" },
        replica: { index: 0, count: 1 },
        ports: {},
        edge: { address: "" },
        hostEnv: {},
      });
      assert.match(filled, /^[A-Za-z0-9@%_+=:,./ -]+$/);
      assert.equal(filled.split(" ").length, 3);
    }),
  );
});

const ported: [PoolInput["processes"][string]["policy"], boolean | number | undefined, boolean, boolean][] = [
  ["proxied", undefined, true, true],
  ["companion", undefined, false, false],
  ["companion", true, true, true],
  ["companion", false, false, false],
  ["singleton", true, true, true],
  ["service", 6379, false, true],
  ["service", undefined, false, false],
];
for (const [policy, port, fromRange, any] of ported)
  test(`a ${policy} with port ${port} ${any ? "has a port" : "has no port"}${fromRange ? " from the range" : ""}`, () => {
    assert.equal(takesFromRange({ policy, port }), fromRange);
    assert.equal(hasPort({ policy, port }), any);
  });

test("a release takes one port per replica that has one", () => {
  const { processes } = poolSpec.parse(
    poolInput({
      processes: {
        web: { ...WEB, replicas: 3 },
        side: { policy: "companion", command: ["x"], port: true, replicas: 2 },
        quiet: { policy: "companion", command: ["x"], replicas: 9 },
        redis: { policy: "service", command: ["x"], port: 6379 },
      },
    }),
  );
  assert.equal(portsPerRelease(processes), 5);
  assert.equal(hasPort(undefined), false);
});

test("a pool in place needs ports for one release, and has neither an edge of its own nor replicas", () => {
  const { edge: _, ...input } = poolInput({ strategy: "in-place", ports: { from: 9000, to: 9000 } });
  assert.deepEqual(problems(poolSpec, input), []);
  assert.deepEqual(problems(poolSpec, { ...input, edge: "main" }), [
    "edge: has no meaning in place, where edges of any agent lead to the host: leave it out, and name them in serves",
  ]);
  const { web } = input.processes as Record<string, object>;
  assert.deepEqual(
    problems(poolSpec, { ...input, ports: { from: 9000, to: 9001 }, processes: { web: { ...web, replicas: 2 } } }),
    ["processes.web.replicas: 2 replicas in place: an edge knows one server per host, leave replicas out"],
  );
  assert.deepEqual(problems(poolSpec, { ...input, strategy: "side-by-side", ports: { from: 9000, to: 9009 } }), [
    "edge: is missing: name the edge that the pool serves, on the same agent",
  ]);
});
