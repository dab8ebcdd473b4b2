import { table, USERS } from "./support";

const after = { after: USERS };
const none = { transaction: "none" } as const;

const PRESUMED =
  "CREATE TABLE IF NOT EXISTS users (id int CONSTRAINT positive CHECK (id > 0), a int NOT NULL DEFAULT 1);";
table("a table that IF NOT EXISTS may have found is new for locks only, not for what takes away", [
  [`${PRESUMED} CREATE INDEX i ON users (a);`, ""],
  [`${PRESUMED} ALTER TABLE users ADD CONSTRAINT c CHECK (a > 0);`, ""],
  [`${PRESUMED} DELETE FROM users WHERE id = 1;`, ""],
  [`${PRESUMED} INSERT INTO users VALUES (1);`, ""],
  [`${PRESUMED} DELETE FROM users;`, "unbounded-write"],
  [`${PRESUMED} UPDATE users SET a = 2;`, "unbounded-write"],
  [`${PRESUMED} ALTER TABLE users DROP CONSTRAINT positive;`, "drop-constraint"],
  [`${PRESUMED} ALTER TABLE users ALTER a DROP DEFAULT;`, "drop-default"],
  [`${PRESUMED} ALTER TABLE users ALTER a DROP NOT NULL;`, "drop-not-null"],
  [`${PRESUMED} ALTER TABLE users ALTER a TYPE text;`, "change-column-type"],
  [`${PRESUMED} REVOKE SELECT ON users FROM app;`, "access-change"],
  [`${PRESUMED} ALTER TABLE users OWNER TO app;`, "access-change"],
  [`${PRESUMED} ALTER TABLE users ENABLE ROW LEVEL SECURITY;`, "access-change"],
  [`${PRESUMED} CREATE RULE r AS ON DELETE TO users DO INSTEAD NOTHING;`, "rule-rewrite"],
  [`${PRESUMED} ALTER TABLE users DISABLE TRIGGER ALL;`, "disable-trigger"],
]);

table("tables that go, or are called otherwise", [
  ["DROP TABLE users;", "drop-table"],
  ["DROP TABLE IF EXISTS users;", "drop-table"],
  ["DROP TABLE IF EXISTS a, b CASCADE;", "drop-table"],
  ["DROP TABLE IF EXISTS t; CREATE TABLE t (a int);", "drop-table"],
  ["CREATE TABLE t (a int); DROP TABLE t;", ""],
  ["CREATE TABLE IF NOT EXISTS t (a int); DROP TABLE t;", "drop-table"],
  ["CREATE TEMP TABLE t AS SELECT 1; DROP TABLE t;", ""],
  ["DROP FOREIGN TABLE t;", "drop-table"],
  ["CREATE TABLE t (a int); CREATE TABLE u (a int); DROP TABLE t, u;", ""],
  ["DROP TABLE t;", "drop-table", { after: "CREATE TABLE t (a int);" }],
  ["ALTER TABLE users RENAME TO people;", "rename-table"],
  ["ALTER TABLE users SET SCHEMA archive;", "rename-table"],
  ["ALTER TABLE users RENAME TO old; ALTER TABLE users_new RENAME TO users;", "rename-table"],
  [
    "ALTER TABLE users RENAME TO people; CREATE VIEW users AS SELECT * FROM people; GRANT SELECT, INSERT, UPDATE, DELETE ON users TO app;",
    "",
  ],
  ["ALTER TABLE users RENAME TO people; CREATE VIEW users AS TABLE people; GRANT ALL ON users TO app;", ""],
  [
    "ALTER TABLE users RENAME TO people; CREATE VIEW users AS SELECT * FROM people; GRANT ALL ON users TO app;",
    "rename-table",
    none,
  ],
  [
    "BEGIN; ALTER TABLE users RENAME TO people; CREATE VIEW users AS SELECT * FROM people; GRANT ALL ON users TO app; COMMIT;",
    "",
    none,
  ],
  [
    "BEGIN; ALTER TABLE users RENAME TO people; COMMIT; CREATE VIEW users AS SELECT * FROM people; GRANT ALL ON users TO app;",
    "rename-table",
    none,
  ],
  ["ALTER TABLE users RENAME TO people; CREATE VIEW users AS SELECT * FROM people;", "rename-table"],
  [
    "ALTER TABLE users RENAME TO people; CREATE VIEW users AS SELECT * FROM people; GRANT SELECT ON users TO app;",
    "rename-table",
  ],
  [
    "ALTER TABLE users RENAME TO people; CREATE VIEW users AS SELECT id FROM people; GRANT ALL ON users TO app;",
    "rename-table",
    after,
  ],
  [
    "ALTER TABLE users RENAME TO people; CREATE VIEW users AS SELECT id, name, email, age, nick FROM people; GRANT ALL ON users TO app;",
    "",
    after,
  ],
  [
    "ALTER TABLE users RENAME TO people; CREATE VIEW users AS SELECT * FROM people WHERE id > 5; GRANT ALL ON users TO app;",
    "rename-table",
  ],
  [
    "ALTER TABLE users SET SCHEMA crm; CREATE VIEW public.users AS SELECT * FROM crm.users; GRANT ALL ON public.users TO app;",
    "",
  ],
  ["CREATE TABLE t (a int); ALTER TABLE t RENAME TO u;", ""],
  ["ALTER VIEW v RENAME TO w;", "rename-table"],
  ["ALTER INDEX i RENAME TO j;", ""],
  ["ALTER INDEX users_pkey RENAME TO j;", "rename-object", after],
]);

table("partitions and keys of new tables", [
  ["ALTER TABLE events DETACH PARTITION e1;", "detach-partition"],
  ["ALTER TABLE events DETACH PARTITION e1 CONCURRENTLY;", "detach-partition", none],
  ["ALTER TABLE e1 NO INHERIT events;", "detach-partition"],
  ["CREATE TABLE orders (id int PRIMARY KEY, user_id bigint REFERENCES users (id));", "warn:blocking-key"],
  [
    "CREATE TABLE orders (id int PRIMARY KEY, user_id bigint REFERENCES users (id) ON DELETE RESTRICT);",
    "warn:blocking-key",
  ],
  ["CREATE TABLE orders (id int PRIMARY KEY, user_id bigint REFERENCES users (id) ON DELETE CASCADE);", ""],
  ["CREATE TABLE orders (id int PRIMARY KEY, user_id bigint REFERENCES users (id) ON DELETE SET NULL);", ""],
  [
    "CREATE TABLE orders (id int PRIMARY KEY, user_id bigint NOT NULL REFERENCES users (id) ON DELETE SET NULL);",
    "warn:blocking-key",
  ],
  ["CREATE TABLE orders (id int, user_id bigint, FOREIGN KEY (user_id) REFERENCES users);", "warn:blocking-key"],
  [
    "CREATE TABLE orders (id int, user_id bigint); ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users (id);",
    "warn:blocking-key",
  ],
  [
    "CREATE TABLE orders (id int, user_id bigint); ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE;",
    "",
  ],
  ["CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (a_id int REFERENCES a (id));", ""],
  ["CREATE TABLE a (id int PRIMARY KEY, parent int REFERENCES a (id));", ""],
  [
    "CREATE TABLE b (a_id int REFERENCES a (id));",
    "warn:blocking-key",
    { after: "CREATE TABLE a (id int PRIMARY KEY);" },
  ],
  ["CREATE TABLE p2 PARTITION OF events FOR VALUES FROM (1) TO (2);", ""],
  [
    "CREATE TABLE p2 PARTITION OF events FOR VALUES FROM (1) TO (2);",
    "attach-partition",
    { after: "CREATE TABLE events (a int) PARTITION BY RANGE (a); CREATE TABLE d PARTITION OF events DEFAULT;" },
  ],
]);
