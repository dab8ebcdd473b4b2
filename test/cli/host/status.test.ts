import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { stripVTControlCharacters } from "node:util";
import { send } from "../../../src/agent/processes/identity";
import { type StatusDocument, statusDocument } from "../../../src/cli/status/schema";
import { statusText } from "../../../src/cli/status/text";
import { change } from "../../support/transaction";
import { until } from "../../support/until";
import { world } from "../support/world";

const PATIENT = { deadlineMs: 60_000, intervalMs: 100 };

test("status shows everything that an agent runs, exits 0, and prints the same as JSON by its schema", async (t) => {
  const { sluice, client, socket, about } = await world(t, {
    worker: { policy: "companion", command: ["sleep", "10000"] },
  });
  await change(client, "route/api", [
    { verb: "route.set", route: "api", spec: { edges: ["main"], stable: "web", split: 0 } },
  ]);
  const json = await until(
    "HAProxy to have checked its servers",
    async () => {
      const outcome = await sluice(["status", "--json"]);
      const { pools } = JSON.parse(outcome.stdout) as StatusDocument;
      return pools[0]?.processes.every(({ policy, health }) => policy !== "proxied" || health === "healthy")
        ? outcome
        : undefined;
    },
    PATIENT,
  );
  assert.equal(json.code, 0);
  const document = statusDocument.parse(JSON.parse(json.stdout));
  assert.equal(document.where, socket);
  assert.equal(document.agent.pid, about.pid);
  assert.deepEqual(document.problems, []);
  const shown = document.pools.map(({ name, edge, release, processes }) => ({
    name,
    edge,
    release,
    processes: processes.map(({ key, state, restarts, sessions }) => ({ key, state, restarts, sessions })),
  }));
  assert.deepEqual(shown, [
    {
      name: "web",
      edge: "main",
      release: "v1",
      processes: [
        { key: "web#0", state: "running", restarts: 0, sessions: 0 },
        { key: "web#1", state: "running", restarts: 0, sessions: 0 },
        { key: "worker#0", state: "running", restarts: 0, sessions: undefined },
      ],
    },
  ]);
  assert.deepEqual(document.routes, [
    { name: "api", stable: "web", split: "0%", committed: "0%", edges: [{ edge: "main", split: "0%" }] },
  ]);
  const text = await sluice(["status"]);
  assert.equal(text.code, 0);
  assert.equal(text.stderr, "");
  assert.match(text.stdout, /^all good {2}\/.*a\.sock {2}up \d+s {2}pid \d+ {2}sluice /);
  assert.match(text.stdout, /\nEDGE +HAPROXY +CONFIG .*\nmain +2\.\S+ +as declared .* http\n/);
  assert.match(
    text.stdout,
    /\nPOOL web on main, release v1\n {2}PROCESS +STATE .*\n {2}web#0 +running .* healthy .*\n/,
  );
  assert.equal(stripVTControlCharacters(text.stdout), text.stdout);
});

test("status shows problems first and exits 1: a process that crashes, a split and a config changed by hand", async (t) => {
  const { sluice, client, release, directory } = await world(t);
  await writeFile(join(release, "app.cjs"), "process.exit(3);\n");
  send((await client.pool("web"))?.processes[0]?.pid ?? 0, "SIGKILL");
  await writeFile(join(directory, "edges", "main", "haproxy.cfg"), "# changed\n", { flag: "a" });
  const { problems } = await until(
    "the crash to be seen",
    async () => {
      const { stdout } = await sluice(["status", "--json"]);
      const document = statusDocument.parse(JSON.parse(stdout));
      return document.problems.some(({ message }) => /^waits for its next start \(release v1, \d+ of /.test(message))
        ? document
        : undefined;
    },
    PATIENT,
  );
  assert.ok(
    problems.some(
      ({ subject, message }) => subject === "edge main" && message.startsWith("its config is changed by hand"),
    ),
  );
  const { code, stdout } = await sluice(["status"]);
  assert.equal(code, 1);
  assert.match(stdout, /^\d problems? .*\n\nPROBLEMS\n {2}edge main: its config is changed by hand/);
});

test("the screen keeps within 80 columns whatever the names are, and leaves out what matters least first", () => {
  const name = "a-name-of-forty-characters-which-is-most";
  const time = "2026-01-01T00:00:00.000Z";
  const document: StatusDocument = {
    at: "2026-01-03T03:04:05.000Z",
    where: `/var/lib/sluice/${"folder/".repeat(9)}agent.sock`,
    agent: { version: "0.1.0+12345678", pid: 12345, since: time, directory: "/x", socket: "/x/a.sock", guarded: true },
    problems: [{ subject: `pool ${name}`, message: "word ".repeat(50) }],
    transactions: [{ target: `pool/${name}`, state: "open", who: `${"x".repeat(60)}@build`, pid: 1, since: time }],
    edges: [
      {
        name,
        haproxy: "running",
        config: "changed by hand",
        version: "2.6.12-1+deb12u4",
        workerUptimeSeconds: 99_999,
        clients: 123_456,
        oldWorkers: 3,
        frontends: Array.from({ length: 9 }, (_, index) => ({ name: `${name}${index}`, status: "open", clients: 1 })),
      },
    ],
    routes: [
      { name, stable: name, candidate: name, split: "33.33%", committed: "1%", edges: [{ edge: name, split: "1%" }] },
    ],
    pools: [
      {
        name,
        edge: name,
        release: "r".repeat(64),
        generation: 3,
        candidate: { release: "c".repeat(64), split: "10%", committed: "1%" },
        withdrawn: { release: "w".repeat(64), why: `stage 50% of ${"long ".repeat(60)}`, at: time },
        retained: [{ release: "q".repeat(64), retiredAt: time }],
        processes: [
          {
            key: `${name}#63`,
            id: `${name}.3.web.63`,
            policy: "proxied",
            release: "r".repeat(64),
            current: true,
            state: "running",
            port: 65_535,
            pid: 4_194_304,
            startedAt: time,
            restarts: 1234,
            memoryBytes: 2 ** 34,
            health: "healthy",
            restartsInWindow: 2,
            maxRestarts: 10,
            sessions: 12_345,
            reason: "crash",
            lastExit: "SIGKILL",
          },
        ],
      },
    ],
    backends: [
      { name, edge: name, servers: [{ name, address: `${"h".repeat(60)}:65535`, state: "ready", weight: 100 }] },
    ],
  };
  statusDocument.parse(document);
  for (const width of [80, 120, 200]) {
    const lines = statusText(document, { colour: false, width }).split("\n");
    assert.deepEqual(
      lines.filter((line) => line.length > width),
      [],
    );
  }
  assert.match(
    statusText(document, { colour: false, width: 200 }),
    /candidate c+, 1% > 10% of the requests\n +candidate w+ was withdrawn/,
  );
  assert.match(statusText(document, { colour: false, width: 80 }), /PROCESS +STATE +UP +RESTARTS +MEMORY/);
  const coloured = statusText(document, { colour: true, width: 80 });
  assert.equal(stripVTControlCharacters(coloured), statusText(document, { colour: false, width: 80 }));
});

test("status shows the processes of a pool whose HAProxy hangs, and says what is not known", async (t) => {
  const { sluice, client } = await world(t, { worker: { policy: "companion", command: ["sleep", "10000"] } });
  const { master = 0, worker } = (await client.edge("main"))?.observed ?? {};
  const pids = [master, worker?.pid ?? 0];
  for (const pid of pids) send(pid, "SIGSTOP");
  t.after(() => {
    for (const pid of pids) send(pid, "SIGCONT");
  });
  const { code, stdout } = await sluice(["status", "--json"]);
  assert.equal(code, 1);
  const { pools, problems } = statusDocument.parse(JSON.parse(stdout));
  assert.deepEqual(
    pools.map(({ name, processes }) => [name, processes.map(({ key, state, health }) => [key, state, health])]),
    [
      [
        "web",
        [
          ["web#0", "running", undefined],
          ["web#1", "running", undefined],
          ["worker#0", "running", undefined],
        ],
      ],
    ],
  );
  assert.deepEqual(
    problems.map(({ subject, message }) => `${subject} ${message}`.replace(/: HAProxy .*/, "")),
    ["edge main can't be observed", "pool web can't be fully observed"],
  );
});
