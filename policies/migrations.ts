import { z } from "zod";
import { type Bypass, bypassOf, readBypasses } from "../src/model/policy/migration-bypass";
import {
  findMigration,
  type Migration,
  type MigrationFinding,
  type ReleaseInUse,
  takenFrom,
} from "../src/model/policy/migration-set";
import { parsePercent } from "../src/model/route/split";
import type { Judged, Unsure } from "./support/judged";
import { type Circumstances, type Finding, policy, type Seen } from "./support/policy";

/** Stack config with the findings that operators let pass. */
const BYPASSES_KEY = "sluice:migrationBypasses";

export const migrations = policy({
  name: "migrations",
  description: "After a migration, every release that runs or is kept for a rollback still works.",
  level: "mandatory",
  config: z.strictObject({}),
  judge: {
    Migrations: (inputs, circumstances) => (isKnown(inputs) ? judge(inputs, circumstances) : []),
    Pool: (pool) => livesWith(pool),
  },
});

type Database = Pick<Judged["Migrations"], "migrations" | "findings" | "inUse" | "pools">;

function isKnown(inputs: Unsure<Judged["Migrations"]>): inputs is Database {
  const { migrations: files, findings, inUse, pools } = inputs;
  return [files, findings, inUse, pools].every((part) => part !== undefined);
}

function judge(database: Database, { stack, now, others }: Circumstances<object>): Finding[] {
  const { valid, problems } = readBypasses(stack.config[BYPASSES_KEY], now);
  const used = new Set<Bypass>();
  const found = database.findings.flatMap((finding) => judgeFinding(finding, database, valid, used));
  return [
    ...found,
    ...problems.map((message) => ({ message: `${BYPASSES_KEY}: ${message}` })),
    ...unmatched(valid, used, [database, ...databases(others)]),
  ];
}

function judgeFinding(
  finding: MigrationFinding,
  database: Database,
  bypasses: readonly Bypass[],
  used: Set<Bypass>,
): Finding[] {
  const { file, line, column, rule, level, message, contractable } = finding;
  const at = `${file}:${line}:${column}`;
  const text = `${rule}: ${message.replace(/\.$/, "")}`;
  if (level !== "error") return [{ at, message: text, advisory: true }];
  const bypass = bypassOf(finding, database.migrations, bypasses);
  if (bypass !== undefined) {
    used.add(bypass);
    const allowed = `${bypass.who} allowed it until ${bypass.until}, since ${bypass.reason}`;
    return [{ at, message: `${text}: ${allowed}`, advisory: true }];
  }
  const phase = database.migrations.find(({ id }) => id === file)?.phase;
  if (!contractable) return [{ at, message: `${text}: \`sluice migrations check\` on it shows the safe way` }];
  if (phase !== "contract")
    return [{ at, message: `${text}: list it under contract once no release needs that any more` }];
  if (database.pools.length === 0)
    return [{ at, message: `${rule}: which releases use the database is not declared: name their pools` }];
  return database.inUse
    .flatMap((release) => blocks(release, file, database))
    .map((reason) => ({ at, message: `${rule}: ${reason}` }));
}

/** Why a release that runs or is kept stands in the way of a contract migration. */
function blocks(used: ReleaseInUse, file: string, { migrations: files }: Database): string[] {
  const { pool, directory, release, role } = used;
  if (role === "unknown")
    return [
      `the agent of pool ${pool} (${directory}) can't be asked which releases it has: run this where it can be reached`,
    ];
  if (!takenFrom(used, files).includes(file)) return [];
  return role === "runs"
    ? [
        `release ${release} runs on pool ${pool} and may still need it: promote one that does not, or declare its release.toleratesMigration in an update of its own`,
      ]
    : [
        `release ${release} is kept on pool ${pool} for a rollback and may still need it: wait until it is no longer kept (retain)`,
      ];
}

/** A bypass that matches nothing is a mistake, or was for a file that has changed since. One of an applied file is spent. */
function unmatched(valid: readonly Bypass[], used: ReadonlySet<Bypass>, all: readonly Database[]): Finding[] {
  return valid.flatMap((bypass): Finding[] => {
    if (used.has(bypass)) return [];
    const short = bypass.file.slice(0, 12);
    const file = all.flatMap(({ migrations: files }) => files).find(({ hash }) => hash.startsWith(bypass.file));
    if (file?.state === "applied")
      return [{ message: `${BYPASSES_KEY}: ${bypass.rule} in ${file.id} is applied: remove it`, advisory: true }];
    const elsewhere = all.some(({ findings, migrations: files }) =>
      findings.some((finding) => bypassOf(finding, files, [bypass])),
    );
    if (elsewhere) return [];
    const what =
      file === undefined ? `no migration has the hash ${short}` : `${file.id} has no finding of ${bypass.rule}`;
    return [{ message: `${BYPASSES_KEY}: ${what}: remove it, or take the hash of the file as it is now` }];
  });
}

function databases(others: readonly Seen[]): Database[] {
  return others.flatMap(({ kind, inputs }) => {
    const database = inputs as Unsure<Judged["Migrations"]>;
    return kind === "Migrations" && isKnown(database) ? [database] : [];
  });
}

/**
 * A release that is promoted, rolled back, or a candidate must find what it needs, and must not miss what a contract
 * migration took.
 */
function livesWith({ migrations: database, release, canary, change }: Unsure<Judged["Pool"]>): Finding[] {
  if (change?.kind === undefined || change.kind === "none") return [];
  const back = change.kind === "rollback";
  const candidate = (parsePercent(change.candidate?.to ?? "") ?? 0) > 0;
  return [
    ...needs(release, { at: "release.id", database, back, evenBack: true }),
    // Giving a candidate's requests back to the serving release is never refused.
    ...(candidate ? needs(canary?.release, { at: "canary.release.id", database, back, evenBack: false }) : []),
  ];
}

type Pool = Unsure<Judged["Pool"]>;

function needs(
  release: Pool["release"],
  { at, database, back, evenBack }: { at: string; database: Pool["migrations"]; back: boolean; evenBack: boolean },
): Finding[] {
  const files = database?.migrations?.filter(
    (file): file is Migration => file?.id !== undefined && file.phase !== undefined,
  );
  const id = release?.id;
  if (files === undefined || id === undefined) return [];
  const required = release?.requiresMigration;
  const missing: Finding[] =
    required === undefined ||
    findMigration(
      files.map((file) => file.id),
      required,
    ) !== undefined
      ? []
      : [
          {
            at,
            message: `${id} requires migration ${required}, which database ${database?.name} does not have: add it`,
            evenBack,
          },
        ];
  const taken = takenFrom(release, files);
  if (taken.length === 0) return missing;
  const rollout = back ? "going back to it would break it: go forward with a fix" : "adapt it";
  return [
    ...missing,
    {
      at,
      message: `${id} may still need what ${taken.join(", ")} took away from database ${database?.name}: ${rollout}, or declare ${at.replace(/id$/, "toleratesMigration")} where it does not`,
      evenBack,
    },
  ];
}
