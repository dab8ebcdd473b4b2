import assert from "node:assert/strict";
import test from "node:test";
import type { Client } from "pg";
import { startPostgres } from "../support/postgres";
import { inDatabase, migrate, say } from "./proof/sessions";
import { judge } from "./support";

/** A value of the old column, and what it is in the new one, as SQL. */
type Both = readonly [old: string, next: string];

interface Rewrite {
  title: string;
  /** Makes `table`, without rows. */
  before: string;
  unsafe: string;
  /** @default "t" */
  table?: string;
  /** @default "v" */
  old?: string;
  /** @default "v_new" */
  next?: string;
  /** Four values that differ. */
  values: readonly [Both, Both, Both, Both];
  /** Value for a release that leaves the column out. */
  omitted?: Both;
  /** Whether it may be NULL. @default true */
  nullable?: boolean;
  /** Values that the author of the migration fills in. */
  filled?: Record<string, string>;
  /** Statements of the new release that are refused in the end. */
  refused?: string[];
}

const REWRITES: Rewrite[] = [
  {
    title: "a wider number, required and with a default",
    before: "CREATE TABLE t (id bigserial PRIMARY KEY, v integer NOT NULL DEFAULT 3); CREATE INDEX t_v ON t (v);",
    unsafe: "ALTER TABLE t ALTER COLUMN v TYPE bigint;",
    values: [
      ["1", "1"],
      ["-20", "-20"],
      ["300", "300"],
      ["0", "0"],
    ],
    omitted: ["3", "3"],
    nullable: false,
    refused: ["INSERT INTO t (v_new) VALUES (NULL)"],
  },
  {
    title: "a number in a text, by a cast that loses how it was written",
    before: "CREATE TABLE t (id bigserial PRIMARY KEY, v text);",
    unsafe: "ALTER TABLE t ALTER COLUMN v TYPE integer USING v::integer;",
    values: [
      ["'007'", "7"],
      ["'20'", "20"],
      ["'300'", "300"],
      ["'-4'", "-4"],
    ],
  },
  {
    title: "another unit, by an expression",
    before: "CREATE TABLE t (id bigserial PRIMARY KEY, v numeric(10, 2) DEFAULT 5);",
    unsafe: "ALTER TABLE t ALTER v TYPE integer USING (v * 100)::integer;",
    values: [
      ["1.00", "100"],
      ["2.50", "250"],
      ["0.01", "1"],
      ["-3.99", "-399"],
    ],
    omitted: ["5.00", "500"],
    filled: {
      "/* v from NEW.v_new: what undoes (v * 100)::integer */": "NEW.v_new / 100.0",
      "/* the default of v */": "500",
    },
  },
  {
    title: "a time with its zone, and a default of the moment",
    before: "CREATE TABLE t (id bigserial PRIMARY KEY, v timestamp DEFAULT '2020-01-01 00:00');",
    unsafe: "ALTER TABLE t ALTER v TYPE timestamptz;",
    values: [
      ["'2024-01-01 10:00'::timestamp", "'2024-01-01 10:00'::timestamptz"],
      ["'2024-06-01 10:00'::timestamp", "'2024-06-01 10:00'::timestamptz"],
      ["'1999-12-31 23:59:59.5'::timestamp", "'1999-12-31 23:59:59.5'::timestamptz"],
      ["'infinity'::timestamp", "'infinity'::timestamptz"],
    ],
    omitted: ["'2020-01-01'::timestamp", "'2020-01-01'::timestamptz"],
  },
  {
    title: "a type that has no equality",
    before: `CREATE TABLE t (id bigserial PRIMARY KEY, v json NOT NULL DEFAULT '{}');`,
    unsafe: "ALTER TABLE t ALTER v TYPE jsonb;",
    values: [
      [`'{"a": 1}'::json`, `'{"a": 1}'::jsonb`],
      [`'[1, 2]'::json`, `'[1, 2]'::jsonb`],
      [`'"x"'::json`, `'"x"'::jsonb`],
      ["'1'::json", "'1'::jsonb"],
    ],
    omitted: ["'{}'::json", "'{}'::jsonb"],
    nullable: false,
  },
  {
    title: "a shorter text, of names that must be quoted, in a schema",
    before: `CREATE SCHEMA app; CREATE TABLE app."Order Items" (id bigserial PRIMARY KEY, "Unit" varchar(80));`,
    unsafe: `ALTER TABLE app."Order Items" ALTER COLUMN "Unit" TYPE varchar(10);`,
    table: `app."Order Items"`,
    old: `"Unit"`,
    next: `"Unit_new"`,
    values: [
      ["'a''b'", "'a''b'"],
      ["'kg '", "'kg '"],
      ["''", "''"],
      ["'1234567890'", "'1234567890'"],
    ],
    refused: [`INSERT INTO app."Order Items" ("Unit_new") VALUES ('12345678901')`],
  },
  {
    title: "a column of another name",
    before: "CREATE TABLE t (id bigserial PRIMARY KEY, v text NOT NULL DEFAULT 'none');",
    unsafe: "ALTER TABLE t RENAME COLUMN v TO title;",
    next: "title",
    values: [
      ["'a'", "'a'"],
      ["'b'", "'b'"],
      ["''", "''"],
      ["'d'", "'d'"],
    ],
    omitted: ["'none'", "'none'"],
    nullable: false,
    refused: ["INSERT INTO t (title) VALUES (NULL)"],
  },
];

interface Step {
  title: string;
  sql: string;
}

/** The migrations that a finding tells to write, each with its heading. */
export function stepsIn(fix: string): Step[] {
  return fix
    .split(/^-- \d+\. /m)
    .slice(1)
    .map((part) => {
      const [title = "", ...lines] = part.split("\n");
      return { title, sql: lines.join("\n") };
    });
}

async function fixOf(unsafe: string, before: string): Promise<string> {
  const { findings } = await judge(unsafe, { after: before });
  const [found] = findings.filter(({ level }) => level === "error");
  assert.ok(found, unsafe);
  return found.fix;
}

/** A row that a release has written, and what both columns must hold of it from then on. */
interface Written {
  id: string;
  both: Both;
}

/** Both releases at work on one table: what each writes is remembered, and looked at in both columns. */
class Releases {
  private readonly rows = new Map<string, Both>();

  constructor(
    private readonly client: Client,
    private readonly rewrite: Rewrite,
  ) {}

  private get names() {
    const { table = "t", old = "v", next = "v_new" } = this.rewrite;
    return { table, old, next };
  }

  private async write(sql: string, both: Both): Promise<Written> {
    const { rows } = await this.client.query(`${sql} RETURNING id`);
    assert.equal(rows.length, 1, sql);
    const { id } = rows[0];
    this.rows.set(id, both);
    return { id, both };
  }

  insert(column: string, value: string, both: Both): Promise<Written> {
    return this.write(`INSERT INTO ${this.names.table} (${column}) VALUES (${value})`, both);
  }

  update(id: string, assignments: string, both: Both): Promise<Written> {
    return this.write(`UPDATE ${this.names.table} SET ${assignments} WHERE id = ${id}`, both);
  }

  /** Acts as a release that knows the old column alone. */
  async old(): Promise<void> {
    const { table, old } = this.names;
    const { values, omitted = ["NULL", "NULL"], nullable = true } = this.rewrite;
    const [a, b] = values;
    const { id } = await this.insert(old, a[0], a);
    await this.update(id, `${old} = ${b[0]}`, b);
    await this.write(`INSERT INTO ${table} DEFAULT VALUES`, omitted);
    if (nullable) {
      await this.insert(old, "NULL", ["NULL", "NULL"]);
      const emptied = await this.insert(old, b[0], b);
      await this.update(emptied.id, `${old} = NULL`, ["NULL", "NULL"]);
    }
  }

  /** Acts as a release that knows the new column alone. */
  async next(): Promise<void> {
    const { table, next } = this.names;
    const { values, omitted = ["NULL", "NULL"], nullable = true } = this.rewrite;
    const [, , c, d] = values;
    const { id } = await this.insert(next, c[1], c);
    await this.update(id, `${next} = ${d[1]}`, d);
    await this.write(`INSERT INTO ${table} DEFAULT VALUES`, omitted);
    // A value that can't be told from a column that is left out is the default.
    if (nullable && (this.rewrite.filled === undefined || omitted[0] === "NULL"))
      await this.insert(next, "NULL", ["NULL", "NULL"]);
    if (nullable) {
      const emptied = await this.insert(next, c[1], c);
      await this.update(emptied.id, `${next} = NULL`, ["NULL", "NULL"]);
    }
  }

  /** Each writes what the other one has written, and one who knows both writes both. */
  async both(): Promise<void> {
    const { old, next } = this.names;
    const [a, b, c, d] = this.rewrite.values;
    const first = await this.insert(old, a[0], a);
    await this.update(first.id, `${next} = ${b[1]}`, b);
    await this.update(first.id, `${old} = ${c[0]}`, c);
    await this.update(first.id, `id = id`, c);
    await this.update(first.id, `${old} = ${d[0]}, ${next} = ${d[1]}`, d);
    await this.insert(`${old}, ${next}`, `${a[0]}, ${a[1]}`, a);
    await this.insert(`${old}, ${next}`, `${b[0]}, ${c[1]}`, c);
  }

  /** A row that was there before the migration is written by its new column, before it was filled. */
  async early(): Promise<void> {
    const { next } = this.names;
    const [id] = this.rows.keys();
    const [, , , d] = this.rewrite.values;
    if (id !== undefined) await this.update(id, `${next} = ${d[1]}`, d);
  }

  /** @param columns those that are there, by their place in a pair */
  async check(columns: readonly (0 | 1)[] = this.columns): Promise<void> {
    const { table, old, next } = this.names;
    for (const [id, both] of this.rows)
      for (const place of columns) {
        const column = [old, next][place];
        const { rows } = await this.client.query(
          `SELECT ${column}::text AS is, (${both[place]})::text AS wanted, ${column}::text IS NOT DISTINCT FROM (${both[place]})::text AS same FROM ${table} WHERE id = $1`,
          [id],
        );
        assert.ok(rows[0]?.same, `row ${id}, ${column}: ${rows[0]?.is} in place of ${rows[0]?.wanted}`);
      }
  }

  columns: readonly (0 | 1)[] = [0];
}

/** A migration of a finding, as its author would send it. */
async function apply(
  migration: Client,
  { title, sql }: Step,
  { before, contracts = false }: { before: readonly string[]; contracts?: boolean },
): Promise<string> {
  const text = sql
    .replaceAll("/* key */ BETWEEN /* from */ AND /* to */", "id BETWEEN 1 AND 1000")
    .replaceAll("/* above the highest value */", "1000");
  const transaction = /without a transaction/i.test(title) ? "none" : "per-file";
  const { findings } = await judge(text, { after: before, transaction });
  const wrong = findings.filter(({ level, contractable }) => level === "error" && !(contracts && contractable));
  assert.deepEqual(wrong, [], text);
  const outcome = await migrate(migration, text, { ...NO_EXAMPLE, transaction });
  assert.ok(!("refused" in outcome), `${text}: ${"refused" in outcome && outcome.message}`);
  return text;
}

const NO_EXAMPLE = { before: "", unsafe: "", safe: "", proof: { kind: "refused" } } as const;

test("a column's place is taken by another one while both releases write, and nothing is lost", async (t) => {
  const postgres = await startPostgres(t);
  if (postgres === undefined) return;
  for (const rewrite of REWRITES)
    await t.test(rewrite.title, async () => {
      const { before, unsafe, filled = {}, table = "t", old = "v" } = rewrite;
      let fix = await fixOf(unsafe, before);
      for (const [placeholder, value] of Object.entries(filled)) {
        assert.ok(fix.includes(placeholder), `${placeholder} in ${fix}`);
        fix = fix.replaceAll(placeholder, value);
      }
      const steps = stepsIn(fix);
      await inDatabase(postgres, { ...NO_EXAMPLE, before }, async (connect) => {
        const migration = await connect();
        const client = await connect();
        const releases = new Releases(client, rewrite);
        await releases.old();
        const done = [before];
        for (const [index, step] of steps.entries()) {
          const contracts = index === steps.length - 1;
          done.push(await apply(migration, step, { before: done, contracts }));
          if (contracts) releases.columns = [1];
          else if (step.sql.includes("/* key */")) releases.columns = [0, 1];
          await releases.check();
          if (!contracts) {
            await releases.old();
            await releases.both();
            if (index === 0) await releases.early();
          }
          await releases.next();
          await releases.check();
        }
        for (const statement of rewrite.refused ?? [])
          assert.ok("refused" in (await say(client, statement)), statement);
        const left = await client.query("SELECT count(*)::int AS n FROM pg_trigger WHERE NOT tgisinternal");
        assert.equal(left.rows[0].n, 0);
        assert.ok("refused" in (await say(client, `SELECT ${old} FROM ${table}`)));
      });
    });

  for (const id of ["serial", "integer GENERATED BY DEFAULT AS IDENTITY"])
    await t.test(`a key of type ${id} gets a wider one, and ids go on`, async () => {
      const before = `CREATE TABLE users (id ${id} PRIMARY KEY, name text UNIQUE); CREATE INDEX users_both ON users (name, id);`;
      const steps = stepsIn(await fixOf("ALTER TABLE users ALTER COLUMN id TYPE bigint;", before));
      await inDatabase(postgres, { ...NO_EXAMPLE, before }, async (connect) => {
        const migration = await connect();
        const client = await connect();
        const names: string[] = [];
        const insert = async (columns: string, values: string) => {
          names.push(`n${names.length}`);
          await client.query(`INSERT INTO users (name${columns}) VALUES ('${names.at(-1)}'${values})`);
        };
        await insert("", "");
        const done = [before];
        for (const [index, step] of steps.entries()) {
          const contracts = index === steps.length - 1;
          done.push(await apply(migration, step, { before: done, contracts }));
          if (contracts) break;
          await insert("", "");
          await insert(", id", `, ${500 + index}`);
          await insert(", id_new", `, ${600 + index}`);
          const { rows } = await client.query("SELECT id, id_new::int FROM users WHERE id_new IS DISTINCT FROM id");
          assert.deepEqual(rows, index === 0 ? [{ id: 1, id_new: null }] : []);
        }
        await insert("", "");
        await insert(", id_new", ", 5000000000");
        const { rows } = await client.query("SELECT name FROM users ORDER BY name");
        assert.deepEqual(rows.map(({ name }) => name).toSorted(), names.toSorted());
        for (const wrong of ["INSERT INTO users (id_new) VALUES (1)", "INSERT INTO users (id_new) VALUES (NULL)"])
          assert.ok("refused" in (await say(client, wrong)), wrong);
        const indexes = await client.query("SELECT indexname FROM pg_indexes WHERE tablename = 'users' ORDER BY 1");
        assert.deepEqual(
          indexes.rows.map(({ indexname }) => indexname),
          ["users_both_new", "users_name_key", "users_pkey"],
        );
      });
    });
});
