import assert from "node:assert/strict";
import test from "node:test";
import { EXTENSIONS } from "../../src/migrations/postgres/syntax/extensions";
import { startPostgres } from "../support/postgres";
import { table } from "./support";

const made = (name: string) => ({ after: `CREATE EXTENSION IF NOT EXISTS "${name}";` });

table("functions of extensions are known where the extension is made", [
  ["SELECT crypt('x', gen_salt('bf'));", "unknown-code"],
  ["SELECT crypt('x', gen_salt('bf'));", "", made("pgcrypto")],
  ["CREATE EXTENSION unaccent; SELECT unaccent('é');", ""],
  ["CREATE EXTENSION pgcrypto SCHEMA tools; SELECT tools.digest('x', 'md5');", ""],
  ["CREATE EXTENSION pgcrypto; DROP EXTENSION pgcrypto; SELECT digest('x', 'md5');", "unknown-code"],
  [
    "CREATE FUNCTION plain(t text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN unaccent(t); END $$; SELECT plain('é');",
    "",
    made("unaccent"),
  ],
  [
    "CREATE FUNCTION plain(t text) RETURNS text LANGUAGE sql AS 'SELECT unaccent(t)'; SELECT plain('é');",
    "unknown-code",
  ],
  ["ALTER TABLE users ADD COLUMN u uuid DEFAULT uuid_generate_v4();", "volatile-default", made("uuid-ossp")],
  ["ALTER TABLE users ADD COLUMN u uuid DEFAULT uuid_nil();", "", made("uuid-ossp")],
  ["ALTER TABLE users ADD COLUMN u uuid DEFAULT uuid_nil();", "volatile-default"],
  ["SELECT ST_SetSRID(ST_MakePoint(1, 2), 4326);", "", made("postgis")],
  ["SELECT AddGeometryColumn('t', 'g', 4326, 'POINT', 2);", "unknown-code", made("postgis")],
  ["SELECT cosine_distance('[1]'::vector, '[2]'::vector);", "", made("vector")],
  ["SELECT dblink_exec('DROP TABLE users');", "unknown-code", made("dblink")],
]);

test("the lists of extensions' functions are those of PostgreSQL", async (t) => {
  const postgres = await startPostgres(t);
  if (postgres === undefined) return;
  const client = await postgres.client();
  const shipped = await client.query("SELECT name FROM pg_available_extensions");
  const names = new Set(shipped.rows.map(({ name }) => name));
  for (const [extension, { steady, volatile, prefix }] of EXTENSIONS) {
    if (!names.has(extension) || prefix !== undefined || extension === "vector") continue;
    await client.query(`CREATE EXTENSION "${extension}" CASCADE`);
    const { rows } = await client.query(
      `SELECT proname AS name, bool_or(provolatile = 'v') AS volatile FROM pg_proc p
        JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
        JOIN pg_extension e ON e.oid = d.refobjid WHERE extname = $1 GROUP BY proname`,
      [extension],
    );
    const known = new Map<string, boolean>(rows.map(({ name, volatile: isVolatile }) => [name, isVolatile]));
    for (const name of steady) assert.equal(known.get(name), false, `${extension}: ${name}`);
    for (const name of volatile) assert.equal(known.get(name), true, `${extension}: ${name}`);
  }
  await client.end();
});
