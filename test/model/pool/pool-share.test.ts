import assert from "node:assert/strict";
import test from "node:test";
import { poolChange } from "../../../src/model/policy/change";
import { candidateProblems } from "../../../src/model/pool/candidate-problems";
import { poolSpec } from "../../../src/model/pool/pool";
import { releaseOfServer, shareIn } from "../../../src/model/pool/pool-backend";
import { instancesOf } from "../../../src/model/pool/pool-instances";
import {
  begin,
  candidateOutcome,
  finished,
  followed,
  newPool,
  shared,
  switched,
  withdrawn,
} from "../../../src/model/pool/pool-promotion";
import { checkedCanary, type PoolCanaryInput, poolCanary } from "../../../src/model/pool/pool-share";
import { type PoolState, poolState, takenPorts } from "../../../src/model/pool/pool-state";
import { allocator, poolInput, problems, WEB, withoutSecrets } from "../support/pools";

const NOW = new Date("2026-11-21T12:00:00Z");
const release = (id: string) => ({ id, path: `/srv/app/${id}` });
const spec = (id: string, env: Record<string, string> = {}) =>
  withoutSecrets({ release: release(id), processes: { web: { ...WEB, env } } });
const share = { split: 1000, sticky: { by: "none" as const } };

/** @param env of the one that is tried @param own of the pool's own */
function started(
  state: PoolState,
  id: string,
  canary?: string,
  { env, own }: { env?: Record<string, string>; own?: Record<string, string> } = {},
): PoolState {
  const taken = takenPorts(state).map(({ port }) => port);
  const options = canary === undefined ? {} : { candidate: spec(canary, env ?? own) };
  return begin(state, spec(id, own), allocator(taken), options);
}

/** A pool whose release is v1, with v2 on a share of its requests. */
function withCandidate(): PoolState {
  const first = finished(followed(switched(started(newPool(spec("v1")), "v1"))), NOW);
  return finished(shared(followed(switched(started(first, "v1", "v2"))), share), NOW);
}

const ids = (state: PoolState) => instancesOf("web", state).map(({ id }) => id);

test("a candidate runs beside the stable release, and its share names both generations", () => {
  const state = withCandidate();
  assert.deepEqual(ids(state), ["web.1.web.0", "web.2.web.0"]);
  assert.deepEqual(shareIn("web", state), { ...share, key: "web.candidate/1/2" });
  assert.equal(state.candidate?.since, NOW.toISOString());
  assert.equal(releaseOfServer(state, "web-2-0"), "v2");
  assert.deepEqual(poolState.parse(JSON.parse(JSON.stringify(state))), state);
  assert.equal(new Set(takenPorts(state).map(({ port }) => port)).size, 2);
});

test("finishing takes its generation over, and its share until the switch", () => {
  const begun = started(withCandidate(), "v2");
  assert.deepEqual(ids(begun), ["web.1.web.0", "web.2.web.0"]);
  assert.deepEqual(shareIn("web", begun), { ...share, key: "web.candidate/1/2" });
  assert.equal(shareIn("web", switched(begun)), undefined);
  const done = finished(followed(switched(begun)), NOW);
  assert.deepEqual(ids(done), ["web.2.web.0"]);
  assert.deepEqual([done.candidate, done.retiring, done.lastGeneration], [undefined, undefined, 2]);
  assert.deepEqual(
    done.retained.map(({ release: { id } }) => id),
    ["v1"],
  );
});

test("one that is given up, or replaced, runs until the commit and gets nothing any more", () => {
  const given = started(withCandidate(), "v1");
  assert.deepEqual(ids(given), ["web.1.web.0", "web.2.web.0"]);
  assert.equal(shareIn("web", given), undefined);
  assert.deepEqual(ids(finished(followed(switched(given)), NOW)), ["web.1.web.0"]);
  const other = started(withCandidate(), "v1", "v3");
  assert.deepEqual(ids(other), ["web.1.web.0", "web.2.web.0", "web.3.web.0"]);
  assert.equal(shareIn("web", other), undefined);
  assert.deepEqual(ids(finished(followed(switched(other)), NOW)), ["web.1.web.0", "web.3.web.0"]);
});

test("a candidate may differ in anything: another environment of the same release, which is kept when that becomes the pool's", () => {
  const env = { FLAG: "on" };
  const first = finished(followed(switched(started(newPool(spec("v1")), "v1"))), NOW);
  const promoted = finished(shared(followed(switched(started(first, "v1", "v1", { env }))), share), NOW);
  assert.deepEqual(
    instancesOf("web", promoted).map(({ id, template }) => [id, template.env]),
    [
      ["web.1.web.0", {}],
      ["web.2.web.0", env],
    ],
  );
  const outcome = (own: object, other?: object) =>
    candidateOutcome(promoted, {
      spec: spec("v1", { ...own }),
      candidate: other === undefined ? undefined : spec("v1", { ...other }),
    });
  assert.deepEqual(
    [outcome({}, env), outcome(env), outcome({}), outcome({}, { FLAG: "off" })],
    ["stays", "serves", "ends", "ends"],
  );
  assert.equal(candidateOutcome(first, { spec: spec("v1") }), undefined);
  const done = finished(followed(switched(started(promoted, "v1", undefined, { own: env }))), NOW);
  assert.deepEqual([ids(done), done.current?.number, done.candidate], [["web.2.web.0"], 2, undefined]);
});

test("a withdrawn candidate gets nothing, runs until the commit, and says why until there is another one", () => {
  const begun = withdrawn(withCandidate(), { why: "5xx 2 %", at: NOW });
  assert.deepEqual([ids(begun), shareIn("web", begun)], [["web.1.web.0", "web.2.web.0"], undefined]);
  const done = finished(begun, NOW);
  assert.deepEqual(ids(done), ["web.1.web.0"]);
  assert.deepEqual(done.withdrawn, { release: "v2", why: "5xx 2 %", at: NOW.toISOString() });
  assert.deepEqual(poolState.parse(JSON.parse(JSON.stringify(done))), done);
  assert.deepEqual(finished(followed(switched(started(done, "v1", "v2"))), NOW).withdrawn, undefined);
  assert.equal(withdrawn(done), done);
});

test("a policy is told how a candidate's share changes", () => {
  const canary = (stage: string): PoolCanaryInput => ({ release: release("v2"), stage });
  const pool = (id: string, canary?: PoolCanaryInput) => ({
    ...spec(id),
    ...(canary === undefined ? {} : { canary: poolCanary.parse(canary) }),
  });
  const changeOf = (before: ReturnType<typeof pool>, after: ReturnType<typeof pool>) => {
    const { kind, candidate } = poolChange(before, after);
    return [kind, candidate];
  };
  assert.deepEqual(changeOf(pool("v1"), pool("v1")), ["none", undefined]);
  assert.deepEqual(changeOf(pool("v1"), pool("v1", canary("10%"))), [
    "promotion",
    { release: "v2", from: "0%", to: "10%" },
  ]);
  assert.deepEqual(changeOf(pool("v1", canary("50%")), pool("v1", canary("1%"))), [
    "rollback",
    { release: "v2", from: "50%", to: "1%" },
  ]);
  assert.deepEqual(changeOf(pool("v1", canary("100%")), pool("v2")), [
    "promotion",
    { release: "", from: "100%", to: "0%", finished: "100%" },
  ]);
});

test("a candidate whose processes differ begins without requests, and may become the pool's as what it is", () => {
  const pool = (id: string, canary?: PoolCanaryInput, env = {}) => ({
    ...poolSpec.parse(poolInput({ release: release(id), processes: { web: { ...WEB, env } } })),
    ...(canary === undefined ? {} : { canary: poolCanary.parse(canary) }),
  });
  const own = { web: { ...WEB, env: { FLAG: "on" } } };
  const half = { release: release("v2"), stage: "50%" };
  const { kind, candidate } = poolChange(pool("v1", half), pool("v1", { ...half, processes: own }));
  assert.deepEqual([kind, candidate], ["promotion", { release: "v2", from: "0%", to: "50%" }]);
  const same = { release: release("v1"), stage: "100%", processes: own };
  assert.equal(poolChange(pool("v1", same), pool("v1", undefined, { FLAG: "on" })).kind, "promotion");
  assert.equal(poolChange(pool("v1"), pool("v1", undefined, { FLAG: "on" })).kind, "restart");
});

test("what is wrong with a candidate is said with its path", () => {
  const wrong = (more: object) => problems(checkedCanary, { release: release("v2"), ...more });
  const gates = (...list: object[]) => [{ split: "1%" }, { split: "100%", gates: list }];
  const sli = { kind: "sli", thresholds: ["5xx < 1 %"] };
  const soak = { kind: "soak", duration: "1 hour", thresholds: ["5xx < 1 %"] };
  const cases: [object, string[]][] = [
    [{ stage: "5%" }, ['stage: "5%" is not a stage: use one of "stable", "1%", "10%", "50%", "100%"']],
    [
      { stages: [{ split: "0%", name: "shadow", mirror: "5%" }, { split: "100%" }] },
      [
        "stages.0.split: 0% gives the candidate nothing, and it would not run: begin with a share, or use a Route",
        "stages.0.mirror: is a Route's: use one to mirror requests to another pool",
      ],
    ],
    [
      { stages: gates({ ...sli, source: "mirror" }, { ...soak, source: "mirror" }) },
      [0, 1].map(
        (gate) =>
          `stages.1.gates.${gate}.source: judges the answers of a shadow, and a pool has none: leave source out, or use a Route with a mirror`,
      ),
    ],
    [
      {
        stages: [
          { split: "1%", gates: [soak] },
          { split: "2%", gates: [soak] },
        ],
      },
      [
        "stages.0.gates.0.kind: judges the stage before, and before the first one the candidate does not run: put the soak into a later stage",
      ],
    ],
    [
      { stages: gates({ kind: "parity", upstreamUrl: "http://a", candidateUrl: "http://b" }) },
      [
        "stages.1.gates.0.requests: is not given, and a pool keeps no sample: name a file of requests, or use a Route with a sample",
      ],
    ],
    [
      { stages: [{ split: "10%" }, { split: "10%", name: "again" }] },
      ["stages.1.split: 10% does not rise: it comes after 10%, put the stages in rising order"],
    ],
    [
      { stages: ["1%", "2%"].map((split) => ({ split, name: "a" })) },
      ['stages.1.name: "a" is the name of stages[0] already: use another'],
    ],
  ];
  for (const [more, expected] of cases) assert.deepEqual(wrong(more), expected);
  for (const [more, where] of [
    [{ stages: gates({ kind: "sli", thresholds: ["5xx < 1 ms"] }) }, /^stages\.1\.gates\.0/],
    [{ stages: [{ split: "1%", window: "-1 minute" }] }, /^stages\.0\.window/],
    [{ artifact: "dist" }, /^artifact/],
    [{ processes: { Web: WEB } }, /^processes\.Web/],
    [{ onBreach: "forward" }, /^onBreach/],
  ] as const) {
    const [first = "nothing"] = wrong(more);
    assert.match(first, where);
  }
});

test("what does not fit between a candidate and its pool is said with its path", () => {
  const pool = { ...spec("v1"), ports: { from: 20_000, to: 20_002 } };
  const wrong = (candidate: object, own: object = pool) =>
    candidateProblems(own, { release: release("v2"), ...candidate }).map(
      ({ path, message }) => `${path.join(".")}: ${message}`,
    );
  assert.deepEqual(wrong({}), []);
  assert.deepEqual(wrong({ processes: { web: { ...WEB, replicas: 2 } } }), []);
  assert.deepEqual(wrong({ processes: { web: { ...WEB, replicas: 3 } } }), [
    "processes: need 3 ports beside the 1 of the pool's own, but its ports 20000-20002 are 3: widen the range",
  ]);
  assert.deepEqual(wrong({ processes: { web: WEB, store: { policy: "service", command: ["true"] } } }), [
    "processes.store.policy: store is a service that the pool does not have, and services start with the pool's release: declare it in the pool's processes first, or make it a companion",
  ]);
  assert.match(wrong({ processes: {} })[0] ?? "", /^processes: exactly one process must be proxied/);
  assert.match(
    wrong({ processes: { web: { ...WEB, env: { A: "{{no.such}}" } } } })[0] ?? "",
    /^processes\.web\.env\.A: .*no\.such/,
  );
  const revision = { web: { ...WEB, env: { REVISION: "{{release.revision}}" } } };
  const revised = { ...pool, release: { ...release("v1"), revision: "abc" }, processes: revision };
  assert.match(wrong({}, revised)[0] ?? "", /^release: does not fit processes\.web\.env\.REVISION: /);
  assert.deepEqual(wrong({ release: { ...release("v2"), revision: "def" } }, revised), []);
});
