import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";
import { Client } from "pg";
import { until } from "./until";

const DEBIAN = "/usr/lib/postgresql";

/** A PostgreSQL of a test's own: it listens on a socket in a temporary folder alone. */
export interface Postgres {
  /** Variables that `psql` and most drivers take from the environment. */
  env: { PGHOST: string; PGUSER: string; PGDATABASE: string };
  query(sql: string): Promise<Record<string, unknown>[]>;
  /** @param database default: `postgres` */
  client(database?: string): Promise<Client>;
}

/** Starts a PostgreSQL, and ends it with the test; skips the test where there is none. */
export async function startPostgres(t: TestContext): Promise<Postgres | undefined> {
  const bin = findBin();
  if (bin === undefined) {
    t.skip("PostgreSQL is not installed: apt-get install postgresql");
    return undefined;
  }
  const account = accountOf(t);
  if (account === undefined) return undefined;
  const folder = mkdtempSync(path.join(tmpdir(), "sl-pg-"));
  if ("uid" in account) chownSync(folder, account.uid, account.gid);
  const data = path.join(folder, "data");
  execFileSync(path.join(bin, "initdb"), ["-D", data, "-U", "test", "-A", "trust", "-N", "-E", "UTF8", "--locale=C"], {
    ...account,
    cwd: folder,
    stdio: "ignore",
  });
  const settings = [
    "listen_addresses=",
    `unix_socket_directories=${folder}`,
    "fsync=off",
    "shared_buffers=16MB",
    "autovacuum=off",
  ];
  const server = spawn(path.join(bin, "postgres"), ["-D", data, ...settings.flatMap((one) => ["-c", one])], {
    ...account,
    cwd: folder,
    stdio: "ignore",
  });
  t.after(async () => {
    await end(server);
    rmSync(folder, { recursive: true, force: true });
  });
  const env = { PGHOST: folder, PGUSER: "test", PGDATABASE: "postgres" };
  const client = async (database = "postgres") => {
    const made = new Client({ host: folder, user: "test", database });
    // A connection may be ended by what is tested: the statement that runs, or the next one, tells of it.
    made.on("error", () => undefined);
    await made.connect();
    return made;
  };
  const query = async (sql: string) => {
    const one = await client();
    try {
      return (await one.query(sql)).rows as Record<string, unknown>[];
    } finally {
      await one.end();
    }
  };
  await until(
    "PostgreSQL answers",
    () =>
      query("select 1").then(
        () => true,
        () => false,
      ),
    { deadlineMs: 60_000 },
  );
  return { env, query, client };
}

function findBin(): string | undefined {
  const versions = existsSync(DEBIAN) ? readdirSync(DEBIAN).toSorted((a, b) => Number(b) - Number(a)) : [];
  const folders = [
    ...versions.map((version) => path.join(DEBIAN, version, "bin")),
    ...(process.env.PATH ?? "").split(":"),
  ];
  return folders.find((folder) => existsSync(path.join(folder, "initdb")));
}

/** PostgreSQL does not run as root: then it runs as the user that its package has made. */
function accountOf(t: TestContext): { uid: number; gid: number } | Record<string, never> | undefined {
  if (process.getuid?.() !== 0) return {};
  const id = (option: string) =>
    Number(execFileSync("id", [option, "postgres"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
  try {
    return { uid: id("-u"), gid: id("-g") };
  } catch {
    t.skip("PostgreSQL does not run as root, and there is no user postgres: add it, or run the tests as another user");
    return undefined;
  }
}

async function end(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return;
  const exit = new Promise((resolve) => server.once("exit", resolve));
  server.kill("SIGQUIT");
  await exit;
}
