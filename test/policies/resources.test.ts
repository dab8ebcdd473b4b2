import assert from "node:assert/strict";
import test from "node:test";
import { agentSocket } from "../../policies/agent-socket";
import { drainTime } from "../../policies/drain-time";
import { freezeWindow } from "../../policies/freeze-window";
import { plainSecrets } from "../../policies/plain-secrets";
import { publicListeners } from "../../policies/public-listeners";
import { removedSettings } from "../../policies/removed-settings";
import { rollbackTarget } from "../../policies/rollback-target";
import { singleInstances } from "../../policies/single-instances";
import { spread } from "../../policies/spread";
import type { Judged, Kind, Unsure } from "../../policies/support/judged";
import type { Seen } from "../../policies/support/policy";
import { PRODUCTION_NAME } from "../../policies/support/production";
import { edgeSpec } from "../../src/model/edge/edge";
import { poolSpec } from "../../src/model/pool/pool";
import { candidateOnItsWay, type Given, judge, judgeStack, routeOnItsWay } from "./support/judge";

const HOST = { directory: "/srv/agent", socket: "/srv/agent/a.sock" };

function pool(changes: object = {}, web: object = {}, more: object = {}): Unsure<Judged["Pool"]> {
  const {
    longestRequest,
    removedSettings: removed,
    secretNames,
    change,
    agent,
    name,
    ...spec
  } = changes as Unsure<Judged["Pool"]>;
  const parsed = poolSpec.parse({
    edge: "main",
    release: { id: "v2", path: "/srv/v2" },
    ports: { from: 20_000, to: 20_010 },
    processes: { web: { policy: "proxied", command: ["web"], health: { path: "/" }, ...web }, ...more },
    ...spec,
  });
  const declared = { longestRequest, removedSettings: removed, secretNames, change };
  return { ...(parsed as Unsure<Judged["Pool"]>), name: name ?? "web", agent: agent ?? HOST, ...declared };
}

function edge(changes: object = {}): Unsure<Judged["Edge"]> {
  const frontends = { http: { binds: [{ port: 8080 }], defaultBackend: "web" } };
  return { ...(edgeSpec.parse({ frontends, ...changes }) as Unsure<Judged["Edge"]>), name: "main", agent: HOST };
}

function seen<K extends Kind>(kind: K, inputs: Unsure<Judged[K]>, urn = `${kind}-1`): Seen {
  return { urn, kind, inputs: inputs as Seen["inputs"] };
}

test("rollback-target: a pool keeps the release that leaves, for a while", () => {
  const at = (retain: object, config = {}) => judge(rollbackTarget, "Pool", pool({ retain }), { config });
  assert.deepEqual(at({}), []);
  assert.deepEqual(at({ count: 0 }), ["retain.count: 0 leaves no release to go back to: keep at least 1"]);
  assert.deepEqual(at({ count: 1, age: "1 hour" }), [
    "retain.age: 1 hour is too short to find out that a release is bad: keep it for at least 1 day",
  ]);
  assert.deepEqual(at({ count: 2 }, { count: 3 }), [
    "retain.count: 2 leaves too few releases to go back to: keep at least 3",
  ]);
});

test("freeze-window: what goes forward waits, what goes back and what is new does not", () => {
  const config = { timeZone: "Europe/Berlin", weekly: [{ days: ["friday"], from: "15:00" }] };
  const friday = new Date("2026-06-12T13:30:00Z");
  const poolAt = (kind: "create" | "promotion" | "rollback" | "restart" | "none", given: Given = {}) =>
    judge(freezeWindow, "Pool", pool({ change: { kind, from: "v1", to: "v2", order: ["v1", "v2"] } }), {
      config,
      now: friday,
      ...given,
    });
  const frozen =
    'is frozen by "not on friday after 15:00" until 2026-06-13 00:00 (Europe/Berlin): wait, or set sluice:freezeOverride in the stack\'s config with reason, who and until';
  assert.deepEqual(poolAt("promotion"), [`release v2 ${frozen}`]);
  assert.deepEqual(poolAt("restart"), [`a restart of release v2 ${frozen}`]);
  for (const kind of ["create", "rollback", "none"] as const) assert.deepEqual(poolAt(kind), []);
  assert.deepEqual(poolAt("promotion", { now: new Date("2026-06-12T12:59:00Z") }), []);
  assert.deepEqual(poolAt("promotion", { config: {} }), []);
  const rollout = (from: `${number}%`, to: `${number}%`) =>
    judge(freezeWindow, "Route", routeOnItsWay(from, to, [{ split: "10%" }]), { config, now: friday });
  assert.deepEqual(rollout("0%", "10%"), [`the way to 10% ${frozen}`]);
  assert.deepEqual(rollout("10%", "0%"), []);
  const shadowed = (stage: { from: string; to: string }) =>
    judge(
      freezeWindow,
      "Route",
      routeOnItsWay("0%", "0%", [{ split: "1%" }], {
        mirror: { to: "green" },
        change: {
          kind: "promotion",
          from: "0%",
          to: "0%",
          stage,
          mirrored: { from: "0%", to: "20%" },
          stable: { from: "blue", to: "blue", had: "100%", before: "" },
        },
      }),
      { config, now: friday },
    );
  assert.deepEqual(shadowed({ from: "stable", to: "shadow" }), [`moving to stage shadow ${frozen}`]);
  assert.deepEqual(shadowed({ from: "stable", to: "stable" }), [`mirroring 20% of the requests to green ${frozen}`]);
  const candidate = (from: `${number}%`, to: `${number}%`) =>
    judge(freezeWindow, "Pool", candidateOnItsWay(from, to, [{ split: "10%" }]), { config, now: friday });
  assert.deepEqual(candidate("0%", "10%"), [`moving candidate v2 to 10% ${frozen}`]);
  assert.deepEqual(candidate("10%", "0%"), []);

  const override = (value: object) => ({ stack: { config: { "sluice:freezeOverride": JSON.stringify(value) } } });
  const good = { reason: "outage", who: "ana", until: "2026-06-12" };
  assert.deepEqual(poolAt("promotion", override(good)), [
    'advisory release v2 proceeds although "not on friday after 15:00" lasts until 2026-06-13 00:00: ana allowed it until 2026-06-12, since outage',
  ]);
  assert.deepEqual(poolAt("promotion", override({ ...good, until: "2026-06-11" })), [
    `release v2 ${frozen}`,
    "sluice:freezeOverride has expired (until 2026-06-11): remove it",
  ]);
  assert.deepEqual(
    poolAt("promotion", { ...override({ ...good, until: "2026-06-08" }), now: new Date("2026-06-10T12:00:00Z") }),
    ["advisory sluice:freezeOverride has expired (until 2026-06-08): remove it"],
  );
});

test("single-instances: a singleton is one, a service is one per host", () => {
  const clock = { clock: { policy: "singleton", command: ["clock"] } };
  const cache = { cache: { policy: "service", command: ["cache"], port: 6379 } };
  const elsewhere = { directory: "/srv/other", socket: "/srv/other/a.sock" };
  const beside = (mine: object, theirs: object, agent = HOST, config = {}) =>
    judge(singleInstances, "Pool", pool({}, {}, mine), {
      config,
      others: [seen("Pool", pool({ name: "api", agent }, {}, theirs))],
    });
  assert.deepEqual(beside(clock, {}), []);
  assert.deepEqual(beside(clock, { clock: { policy: "singleton", command: ["another"] } }), []);
  assert.deepEqual(beside(clock, clock), [
    `processes.clock: the same singleton is in pool api, so that two of it would run: declare it in one of them, or list "clock" in the policy's perHost where one for each host is right`,
  ]);
  assert.match(
    beside(clock, clock, elsewhere)[0] ?? "",
    /^processes\.clock: the same singleton is in pool api on another host/,
  );
  assert.deepEqual(beside(clock, clock, elsewhere, { perHost: ["clock"] }), []);
  assert.equal(beside(clock, clock, HOST, { perHost: ["clock"] }).length, 1);
  assert.equal(beside(cache, cache).length, 1);
  assert.deepEqual(beside(cache, cache, elsewhere), []);
});

test("drain-time: drains are as long as requests, and an edge is as patient as drains", () => {
  const at = (changes: object, edgeChanges: object = {}) =>
    judge(drainTime, "Pool", pool(changes), { others: [seen("Edge", edge(edgeChanges))] });
  assert.deepEqual(at({}), []);
  assert.deepEqual(at({ drainDeadline: "30 seconds", longestRequest: "30 seconds" }), []);
  assert.deepEqual(at({ drainDeadline: "20 seconds", longestRequest: "30 seconds" }), [
    "drainDeadline: 20 seconds cuts off requests that take longestRequest (30 seconds): make it at least as long",
  ]);
  assert.deepEqual(at({ drainDeadline: "10 minutes" }), [
    "drainDeadline: 10 minutes is longer than timeouts.client (1 minute) of edge main, which would cut requests off before: raise that, or declare longestRequest where requests are shorter",
    "drainDeadline: 10 minutes is longer than timeouts.server (1 minute) of edge main, which would cut requests off before: raise that, or declare longestRequest where requests are shorter",
  ]);
  assert.deepEqual(at({ drainDeadline: "10 minutes", longestRequest: "1 minute" }), []);
  assert.deepEqual(at({ drainDeadline: "2 hours", longestRequest: "1 minute" }), [
    "drainDeadline: 2 hours is longer than timeouts.tunnel (1 hour) of edge main, which would cut requests off before: raise that",
    "drainDeadline: 2 hours is longer than hardStopAfter (1 hour) of edge main, which would cut requests off before: raise that",
  ]);
  const inPlace = {
    ...pool({ longestRequest: "2 minutes", drainDeadline: "2 minutes" }),
    edge: undefined,
    serves: { edges: [{ agent: HOST, edge: "main" }] },
  };
  assert.equal(judge(drainTime, "Pool", inPlace, { others: [seen("Edge", edge())] }).length, 2);
  assert.equal(judge(drainTime, "Pool", inPlace, { others: [seen("Edge", { ...edge(), name: "other" })] }).length, 0);
  const backend = {
    name: "old",
    edge: "main",
    agent: HOST,
    drainDeadline: "5 seconds",
    longestRequest: "6 seconds",
  } as const;
  assert.equal(judge(drainTime, "Backend", backend).length, 1);
});

test("spread: production hangs on one host and one edge, unless there are two", () => {
  const there = { directory: "/srv/there", socket: "/srv/there/a.sock" };
  const one = [seen("Pool", pool()), seen("Edge", edge())];
  const two = [
    ...one,
    seen("Pool", pool({ agent: there }), "Pool-2"),
    seen("Edge", { ...edge(), agent: there }, "Edge-2"),
  ];
  assert.deepEqual(judgeStack(spread, { others: one }), [
    "every pool (web) runs on one host, whose loss is an outage: put a second one beside it",
    "all traffic goes through one edge (main), whose loss is an outage: put a second one beside it",
  ]);
  assert.equal(spread.level, "advisory");
  assert.deepEqual(judgeStack(spread, { others: two }), []);
  assert.deepEqual(judgeStack(spread, { others: one, stack: { name: "dev" } }), []);
  assert.deepEqual(judgeStack(spread, { others: [seen("Pool", { ...pool(), agent: undefined })] }), []);
});

test("plain-secrets: environments, commands, gates and config are searched, and no value is ever said", () => {
  const env = {
    DB_PASSWORD: "hunter2",
    DATABASE_URL: "postgres://app:hunter2@db/app",
    API_TOKEN: "hunter2",
    PUBLIC_KEY: "hunter2",
    PASSWORD_FILE: "/run/secret",
    DB_PASS: "{{host.env.DB_PASS}}",
    MAX_TOKENS: "100",
    REPLICA_URL: "postgres://app:{{host.env.PW}}@db/app",
  };
  const secretNames = { web: ["API_TOKEN"] };
  const remedy = "in plain text: make it a secret, as config.requireSecret and pulumi.secret do";
  assert.deepEqual(judge(plainSecrets, "Pool", pool({ secretNames }, { env })), [
    `processes.web.env.DB_PASSWORD: is a secret by its name, ${remedy}`,
    `processes.web.env.DATABASE_URL: holds a URL with a password, ${remedy}`,
  ]);
  assert.deepEqual(
    judge(plainSecrets, "Pool", pool({ secretNames }, { env }), { config: { allow: ["DB_PASSWORD", "DATABASE_URL"] } }),
    [],
  );
  const command = [
    "web",
    "--password=hunter2",
    "--api-key",
    "hunter2",
    "--port",
    "{{port}}",
    "ghp_0123456789abcdefghijklmnopqrstuvwxyz",
  ];
  assert.deepEqual(judge(plainSecrets, "Pool", pool({}, { command })), [
    "processes.web.command[1]: is a secret by its name, in plain text: pass it in the process's env, as a secret",
    "processes.web.command[3]: is a secret by its name, in plain text: pass it in the process's env, as a secret",
    "processes.web.command[6]: holds a GitHub token, in plain text: pass it in the process's env, as a secret",
  ]);
  const gate = { kind: "http", url: "https://ana:hunter2@metrics.internal/" };
  const rollout = routeOnItsWay("0%", "1%", [{ split: "1%", gates: [gate as never] }]);
  assert.equal(judge(plainSecrets, "Route", rollout).length, 1);
  const watched = { before: [gate as never], gates: [gate as never] };
  const watchedPool = candidateOnItsWay("0%", "1%", [{ split: "1%", gates: [gate as never] }], { watch: watched });
  assert.deepEqual(
    judge(plainSecrets, "Pool", watchedPool).map((line) => line.split(": ")[0]),
    ["canary.stages[0].gates[0].url", "watch.before[0].url", "watch.gates[0].url"],
  );
  const config = {
    "app:dbPassword": "hunter2",
    "app:hidden": "hunter2",
    "app:secretName": "x",
    "app:clientSecret": "hunter2",
  };
  const stack = { config, secretKeys: ["app:clientSecret"] };
  assert.deepEqual(judge(plainSecrets, "Stack", {}, { stack }), [
    'config app:dbPassword: is a secret by its name, in plain text: set it anew with "pulumi config set --secret app:dbPassword"',
  ]);
});

test("public-listeners: every network reaches only what is declared public", () => {
  const bind = (changes: object) =>
    edge({ frontends: { http: { binds: [{ port: 80, ...changes }], defaultBackend: "web" } } });
  assert.deepEqual(judge(publicListeners, "Edge", bind({})), []);
  assert.deepEqual(judge(publicListeners, "Edge", bind({ address: "10.0.0.5" })), []);
  assert.deepEqual(judge(publicListeners, "Edge", bind({ address: "0.0.0.0" })), [
    'frontends.http.binds[0].address: "0.0.0.0" listens on every network of the host: name one address, or declare public: true',
  ]);
  assert.equal(judge(publicListeners, "Edge", bind({ address: "0:0:0:0:0:0:0:0" })).length, 1);
  assert.deepEqual(judge(publicListeners, "Edge", bind({ address: "::", public: true })), []);
  assert.equal(judge(publicListeners, "Edge", edge({ metrics: { address: "0.0.0.0", port: 9100 } })).length, 1);
  const at = (command: string[], config = {}) => judge(publicListeners, "Pool", pool({}, { command }), { config });
  for (const text of ["0.0.0.0", "--host=0.0.0.0", "0.0.0.0:{{port}}", "[::]:80", "-bind=::"])
    assert.equal(at(["web", text]).length, 1, text);
  for (const text of ["127.0.0.1", "10.0.0.0", "0.0.0.0/0", "a::b", "--version=0.0.0.0.1"])
    assert.deepEqual(at(["web", text]), [], text);
  assert.deepEqual(at(["web", "0.0.0.0"], { processes: ["web"] }), []);
});

test("agent-socket: only chosen users reach an agent", () => {
  for (const mode of ["0600", "0660", "700"]) assert.deepEqual(judge(agentSocket, "Agent", { mode }), []);
  for (const mode of ["0666", "0602", "777"])
    assert.deepEqual(judge(agentSocket, "Agent", { mode }), [
      `mode: "${mode}" opens the agent to every user of the host: use "0600", or "0660" with a group`,
    ]);
});

test("removed-settings: said before their day, refused from it on", () => {
  const declared = { OLD_FLAG: { from: "2026-06-15", instead: "NEW_FLAG" }, "--legacy": { from: "2026-06-15" } };
  const at = (now: string, web: object, config = {}) =>
    judge(removedSettings, "Pool", pool({ removedSettings: declared }, web), { now: new Date(now), config });
  const used = { env: { OLD_FLAG: "1" }, command: ["web", "--legacy=yes"] };
  assert.deepEqual(at("2026-06-14T23:59:59Z", used), [
    "advisory processes.web.env.OLD_FLAG: the service fails on it from 2026-06-15 on: use NEW_FLAG instead",
    "advisory processes.web.command[1]: the service fails on it from 2026-06-15 on: remove it",
  ]);
  assert.deepEqual(at("2026-06-15T00:00:00Z", used), [
    "processes.web.env.OLD_FLAG: the service fails on it since 2026-06-15: use NEW_FLAG instead",
    "processes.web.command[1]: the service fails on it since 2026-06-15: remove it",
  ]);
  assert.deepEqual(at("2026-06-15T00:00:00Z", { env: { NEW_FLAG: "1" } }), []);
  assert.equal(
    at("2026-06-15T00:00:00Z", { env: { GONE: "1" } }, { settings: { GONE: { from: "2026-01-01" } } }).length,
    1,
  );
});

test("production is told by the stack's name", () => {
  const is = (name: string) => new RegExp(PRODUCTION_NAME, "i").test(name);
  for (const name of ["prod", "production", "eu-prod", "prod-eu", "PROD", "web.production", "prod2"])
    assert.ok(is(name), name);
  for (const name of ["dev", "staging", "preprod", "pre-prod", "nonprod", "non-production", "product", "reproduction"])
    assert.ok(!is(name), name);
});
