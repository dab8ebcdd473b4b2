import assert from "node:assert/strict";
import test from "node:test";
import { freezeWindow } from "../../policies/freeze-window";
import { migrations } from "../../policies/migrations";
import type { Judged, Unsure } from "../../policies/support/judged";
import type { MigrationFinding, ReleaseInUse, ReleaseNeeds } from "../../src/model/policy/migration-set";
import { candidateOnItsWay, judge } from "./support/judge";

const HASH = "0123456789abcdef".repeat(4);
const DROP: MigrationFinding = {
  file: "0002_drop.sql",
  line: 1,
  column: 1,
  rule: "drop-column",
  level: "error",
  message: "drops legacy of users, and queries of earlier releases fail",
  contractable: true,
};

function database(
  changes: Partial<Judged["Migrations"]> = {},
  phase: "expand" | "contract" = "expand",
): Unsure<Judged["Migrations"]> {
  return {
    name: "db",
    pools: [{ pool: "web" }],
    migrations: [
      { id: "0001_users.sql", hash: "f".repeat(64), phase: "expand", state: "applied" },
      { id: "0002_drop.sql", hash: HASH, phase, state: "pending" },
    ],
    findings: [DROP],
    inUse: [],
    change: { kind: "promotion", to: "0002_drop.sql" },
    ...changes,
  } as Unsure<Judged["Migrations"]>;
}

const at = "0002_drop.sql:1:1";

test("an unsafe migration is refused with its place, a warning is only said", () => {
  const lock = { ...DROP, rule: "index-without-concurrently", message: "locks users", contractable: false };
  const warn = { ...DROP, level: "warn" as const, rule: "enum-value", line: 7 };
  assert.deepEqual(judge(migrations, "Migrations", database({ findings: [] })), []);
  assert.deepEqual(judge(migrations, "Migrations", database({ findings: [DROP, lock, warn] })), [
    `${at}: drop-column: ${DROP.message}: list it under contract once no release needs that any more`,
    `${at}: index-without-concurrently: locks users: \`sluice migrations check\` on it shows the safe way`,
    `advisory 0002_drop.sql:7:1: enum-value: ${DROP.message}`,
  ]);
});

test("a contract migration passes exactly when no release that runs or is kept can still need it", () => {
  const inUse = (release: string, role: "runs" | "retained" | "unknown", toleratesMigration?: string) =>
    ({ pool: "web", directory: "/srv/a", release, role, toleratesMigration }) as ReleaseInUse;
  const findings = (used: ReleaseInUse[], changes = {}) =>
    judge(migrations, "Migrations", database({ inUse: used, ...changes }, "contract"));
  assert.deepEqual(findings([]), []);
  assert.deepEqual(findings([inUse("v1", "runs")]), [
    `${at}: drop-column: release v1 runs on pool web and may still need it: promote one that does not, or declare its release.toleratesMigration in an update of its own`,
  ]);
  assert.deepEqual(findings([inUse("v2", "runs", "0002")]), []);
  assert.deepEqual(findings([inUse("v2", "runs", "0002"), inUse("v1", "retained", "0001")]), [
    `${at}: drop-column: release v1 is kept on pool web for a rollback and may still need it: wait until it is no longer kept (retain)`,
  ]);
  assert.deepEqual(findings([inUse("v2", "runs", "0002"), inUse("v2", "retained", "0002")]), []);
  assert.deepEqual(findings([inUse("", "unknown")]), [
    `${at}: drop-column: the agent of pool web (/srv/a) can't be asked which releases it has: run this where it can be reached`,
  ]);
  assert.deepEqual(findings([], { pools: [] }), [
    `${at}: drop-column: which releases use the database is not declared: name their pools`,
  ]);
  // Locks are no matter of phases.
  assert.equal(findings([], { findings: [{ ...DROP, contractable: false }] }).length, 1);
});

test("a bypass lets one finding in one file pass, and is said each time; any other is an error", () => {
  const good = {
    file: HASH.slice(0, 12),
    rule: "drop-column",
    reason: "nobody reads it",
    who: "ana",
    until: "2026-06-15",
  };
  const findings = (bypasses: object[], changes: Partial<Judged["Migrations"]> = {}) =>
    judge(migrations, "Migrations", database(changes), {
      stack: { config: { "sluice:migrationBypasses": JSON.stringify(bypasses) } },
    });
  const refused = `${at}: drop-column: ${DROP.message}: list it under contract once no release needs that any more`;
  assert.deepEqual(findings([good]), [
    `advisory ${at}: drop-column: ${DROP.message}: ana allowed it until 2026-06-15, since nobody reads it`,
  ]);
  assert.deepEqual(findings([{ ...good, until: "2026-06-14" }]), [
    refused,
    "sluice:migrationBypasses: drop-column in 0123456789ab has expired (until 2026-06-14): remove it",
  ]);
  assert.deepEqual(findings([{ ...good, file: "a".repeat(12) }]), [
    refused,
    "sluice:migrationBypasses: no migration has the hash aaaaaaaaaaaa: remove it, or take the hash of the file as it is now",
  ]);
  assert.deepEqual(findings([{ ...good, rule: "drop-table" }]), [
    refused,
    "sluice:migrationBypasses: 0002_drop.sql has no finding of drop-table: remove it, or take the hash of the file as it is now",
  ]);
  const applied = [{ id: "0002_drop.sql", hash: HASH, phase: "expand" as const, state: "applied" as const }];
  assert.deepEqual(findings([good], { migrations: applied, findings: [] }), [
    "advisory sluice:migrationBypasses: drop-column in 0002_drop.sql is applied: remove it",
  ]);
});

test("a release must find what it needs, and a rollback is refused where it would miss what is gone", () => {
  const files = [
    { id: "0001_users.sql", phase: "expand" as const },
    { id: "0002_drop.sql", phase: "contract" as const },
  ];
  const findings = (kind: "promotion" | "rollback" | "none", id: string, needs: ReleaseNeeds = {}) =>
    judge(migrations, "Pool", {
      release: { id, path: "/srv", ...needs },
      change: { kind, from: "x", to: id, order: [] },
      migrations: { name: "db", migrations: files },
    });
  assert.deepEqual(findings("promotion", "v2", { requiresMigration: "0001", toleratesMigration: "0002" }), []);
  assert.deepEqual(findings("rollback", "v1"), [
    "release.id: v1 may still need what 0002_drop.sql took away from database db: going back to it would break it: go forward with a fix, or declare release.toleratesMigration where it does not",
  ]);
  assert.deepEqual(findings("none", "v1"), []);
  assert.deepEqual(findings("promotion", "v3", { requiresMigration: "0003", toleratesMigration: "0002" }), [
    "release.id: v3 requires migration 0003, which database db does not have: add it",
  ]);
  assert.deepEqual(judge(migrations, "Pool", { release: { id: "v1" }, change: { kind: "promotion" } }), []);

  const findingsForCandidate = (to: `${number}%`, needed: ReleaseNeeds) =>
    judge(migrations, "Pool", {
      ...candidateOnItsWay("0%", to, [{ split: "1%" }]),
      release: { id: "v1", path: "/srv", toleratesMigration: "0002" },
      canary: { release: { id: "v2", path: "/srv", ...needed } },
      migrations: { name: "db", migrations: files },
    });
  assert.deepEqual(findingsForCandidate("1%", { requiresMigration: "0003" }), [
    "canary.release.id: v2 requires migration 0003, which database db does not have: add it",
    "canary.release.id: v2 may still need what 0002_drop.sql took away from database db: adapt it, or declare canary.release.toleratesMigration where it does not",
  ]);
  assert.deepEqual(findingsForCandidate("1%", { requiresMigration: "0002", toleratesMigration: "0002" }), []);
  // One that is not started needs nothing yet.
  assert.deepEqual(findingsForCandidate("0%", { requiresMigration: "0003" }), []);
});

test("migrations wait for the end of a freeze", () => {
  const config = { calendar: [{ name: "game day", from: "2026-06-15", to: "2026-06-15" }] };
  assert.match(
    judge(freezeWindow, "Migrations", database(), { config })[0] ?? "",
    /^migration 0002_drop\.sql is frozen by "game day"/,
  );
  assert.deepEqual(judge(freezeWindow, "Migrations", database({ change: { kind: "none", to: "" } }), { config }), []);
});
