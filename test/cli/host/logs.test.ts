import assert from "node:assert/strict";
import { appendFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import {
  type FoundLine,
  linesOf,
  type OutputPosition,
  startOfLast,
} from "../../../src/agent/processes/output/output-stream";
import { OutputTimes } from "../../../src/agent/processes/output/output-times";
import { rotate } from "../../../src/agent/processes/output/rotation";
import { Rotations } from "../../../src/agent/processes/output/rotations";
import { type LogLine, logLine } from "../../../src/cli/logs";
import { temporaryFolder } from "../../support/agent";
import { change } from "../../support/transaction";
import { until } from "../../support/until";
import { follow } from "../support/sluice";
import { world } from "../support/world";

const START = { turn: 0, byte: 0 };
const PATIENT = { deadlineMs: 60_000, intervalMs: 50 };

const parsed = (text: string): LogLine[] =>
  text
    .split("\n")
    .filter(Boolean)
    .map((line) => logLine.parse(JSON.parse(line)));

test("logs shows what processes print, of all or of those that are named, and secrets are left out", async (t) => {
  const { sluice, client, release, ports } = await world(t, {
    talker: {
      policy: "companion",
      command: "for i in 1 2 3 4 5; do echo line $i; done; exec sleep 10000",
      shell: true,
    },
    other: { policy: "companion", command: "echo from the other; exec sleep 10000", shell: true },
  });
  await until(
    "both to have printed",
    async () => {
      const { stdout } = await sluice(["logs", "web", "--json"]);
      return parsed(stdout).length === 6;
    },
    PATIENT,
  );
  const last = await sluice(["logs", "web/talker#0", "--lines", "2"]);
  assert.deepEqual({ ...last, stderr: "" }, { code: 0, stdout: "line 4\nline 5\n", stderr: "" });
  const both = await sluice(["logs", "web/talker", "web/other", "--lines", "1"]);
  assert.equal(both.stdout, "web/other#0  | from the other\nweb/talker#0 | line 5\n");
  const edge = await sluice(["logs", "edge/main"]);
  assert.match(edge.stdout, /haproxy version is/i);
  const unknown = await sluice(["logs", "web/talkr"]);
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /there is no process or pool "web\/talkr": did you mean web\/talker/);
  const wrong = await sluice(["logs", "--lines", "many"]);
  assert.equal(wrong.code, 2);

  await change(client, "pool/web", [
    {
      verb: "pool.start",
      pool: "web",
      spec: {
        edge: "main",
        release: { id: "v2", path: release },
        ports,
        drainDeadline: "1 second",
        processes: {
          web: { policy: "proxied", command: [process.execPath, "app.cjs"], health: { path: "/" } },
          leaky: {
            policy: "companion",
            command: 'echo "password $TOKEN"; exec sleep 10000',
            shell: true,
            env: { TOKEN: "a-long-secret" },
          },
        },
      },
      secrets: { leaky: ["TOKEN"] },
    },
    { verb: "pool.switch", pool: "web" },
    { verb: "pool.follow", pool: "web" },
  ]);
  await until(
    "it to have printed",
    async () => (await sluice(["logs", "web/leaky"])).stdout === "password [secret]\n",
    PATIENT,
  );
});

test("logs --follow goes on with what comes, also of the next release, and --since starts where it was then", async (t) => {
  const { sluice, socket, pool, release } = await world(t);
  const command = `while read -r line; do echo "$SLUICE_RELEASE_ID $line"; done < pipe`;
  const pipe = join(release, "pipe");
  const talker = {
    policy: "companion" as const,
    command: `rm -f pipe; mkfifo pipe; exec 3<>pipe; ${command}`,
    shell: true,
  };
  await pool("v2", { talker });
  const say = (text: string) =>
    until("the pipe to be there", () => appendFile(pipe, `${text}\n`).then(() => true), PATIENT);
  await say("one");
  const following = follow(["logs", "web/talker", "--follow", "--json", "--socket", socket]);
  t.after(() => following.child.kill("SIGKILL"));
  const lines = () => parsed(following.stdout()).map(({ line }) => line);
  await until("the past", () => lines().includes("v2 one"), PATIENT);
  await say("two");
  await until("what comes", () => lines().includes("v2 two"), PATIENT);
  const between = new Date();
  await until(
    "it to be dated",
    async () => {
      const { stdout } = await sluice(["logs", "web/talker", "--json"]);
      return (
        parsed(stdout).every(({ at }) => at !== undefined && at <= between.toISOString()) || parsed(stdout).at(-1)?.at
      );
    },
    PATIENT,
  );
  await say("three");
  await until(
    "only what came then",
    async () => {
      const { stdout } = await sluice([
        "logs",
        "web/talker",
        "--since",
        new Date(between.getTime() + 3000).toISOString(),
      ]);
      return stdout === "v2 three\n" || stdout === "";
    },
    PATIENT,
  );
  await pool("v3", { talker });
  await say("four");
  await until("the next release", () => lines().includes("v3 four"), PATIENT);
  following.child.kill("SIGINT");
  await until("it to end", () => following.child.exitCode === 0, PATIENT);
});

test("output is followed where its file is cut short or replaced, and long lines are cut", async (t) => {
  const path = join(await temporaryFolder(t), "output.log");
  const stop = new AbortController();
  t.after(() => stop.abort());
  const lines: string[] = [];
  const reading = (async () => {
    for await (const { line } of linesOf(path, START, {
      follow: true,
      signal: stop.signal,
      rotations: new Rotations(),
    }))
      lines.push(line);
  })();
  await writeFile(path, "one\r\ntw");
  await until("the first line", () => lines.length === 1, PATIENT);
  await appendFile(path, "o\n");
  await until("the second, once it is whole", () => lines.length === 2, PATIENT);
  await truncate(path, 0);
  await appendFile(path, "3\n");
  await until("what comes after it was cut short", () => lines.includes("3"), PATIENT);
  await rm(path);
  await writeFile(path, `${"x".repeat(20_000)}\nlast\n`);
  await until("what another file has", () => lines.includes("last"), PATIENT);
  stop.abort();
  await reading;
  assert.deepEqual(
    lines.map((line) => (line.length > 10 ? line.length : line)),
    ["one", "two", "3", 16 * 1024 + 1, "last"],
  );
});

test("the last lines are found however long the file is, with and without a last newline", async (t) => {
  const path = join(await temporaryFolder(t), "output.log");
  const rotations = new Rotations();
  assert.deepEqual(await startOfLast(path, 3, rotations), START);
  await writeFile(path, Array.from({ length: 50_000 }, (_, index) => `line ${index}\n`).join(""));
  const last = async (count: number) => {
    const found: string[] = [];
    const never = new AbortController().signal;
    for await (const { line } of linesOf(path, await startOfLast(path, count, rotations), {
      follow: false,
      signal: never,
      rotations,
    }))
      found.push(line);
    return found;
  };
  assert.deepEqual(await last(2), ["line 49998", "line 49999"]);
  assert.deepEqual(await last(0), []);
  assert.equal((await last(30_000)).length, 30_000);
  assert.equal((await last(100_000)).length, 50_000);
  await appendFile(path, "half");
  assert.deepEqual(await last(2), ["line 49999", "half"]);
});

/** A file of output that is dated by a clock which the test sets. */
async function datedOutput(t: TestContext) {
  const path = join(await temporaryFolder(t), "output.log");
  const rotations = new Rotations();
  let now = 0;
  const times = new OutputTimes(
    () => [path],
    rotations,
    () => now,
  );
  t.after(() => times.close());
  const look = (at: number) => {
    now = at;
    times.look();
  };
  const write = async (at: number, text: string) => {
    await appendFile(path, text);
    look(at);
  };
  return { path, rotations, times, write, look };
}

test("bytes of output are dated by when the file had grown over them", async (t) => {
  const { path, times, write, look } = await datedOutput(t);
  await write(1000, "12345");
  assert.equal(times.writtenBy(path, 0, 3), undefined);
  await write(2000, "67890");
  look(3000);
  assert.equal(times.writtenBy(path, 0, 7), 2000);
  assert.deepEqual(
    [500, 1500, 2000, 9000].map((at) => times.sizeAt(path, 0, at)),
    [undefined, 5, 10, 10],
  );
  for (let at = 3001; at < 9000; at++) await write(at, "x");
  assert.equal(times.sizeAt(path, 0, 9000), 10 + 5999);
  await truncate(path, 0);
  await write(10_000, "1");
  assert.equal(times.sizeAt(path, 0, 11_000), 1);
});

test("output is read across its rotations: the last lines, from a place on, and while it is followed", async (t) => {
  const path = join(await temporaryFolder(t), "output.log");
  const rotations = new Rotations();
  const limits = { maxBytes: 1, keep: 3 };
  const stop = new AbortController();
  t.after(() => stop.abort());
  let written = 0;
  const write = async (count: number) => {
    for (let done = 0; done < count; done++) await appendFile(path, `line ${written++}\n`);
  };
  const turn = () => rotations.during(path, async () => rotate(path, { ...limits, maxBytes: (await stat(path)).size }));
  const read = async (from: OutputPosition) => {
    const found: FoundLine[] = [];
    for await (const line of linesOf(path, from, { follow: false, signal: stop.signal, rotations })) found.push(line);
    return found;
  };
  const numbered = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, index) => `line ${from + index}`);

  const followed: string[] = [];
  await write(1);
  const reading = (async () => {
    for await (const { line } of linesOf(path, START, { follow: true, signal: stop.signal, rotations }))
      followed.push(line);
  })();
  for (let count = 0; count < 20; count++) {
    await write(50);
    // A line that is cut by the rotation stays one.
    await appendFile(path, "half ");
    // A file is kept three times: who follows is never further behind than that.
    if (count % 3 === 2) await until("who follows", () => followed.length >= written - 1, PATIENT);
    await turn();
  }
  await write(10);
  await until("all", () => followed.length === written, PATIENT);
  assert.deepEqual(
    followed.map((line) => line.replace(/^half /, "")),
    numbered(0, written),
  );
  // Three older files of 50 lines each, and the file itself.
  for (const count of [0, 1, 10, 11, 60, 61, 160]) {
    const found = await read(await startOfLast(path, count, rotations));
    const expected = numbered(written - Math.min(count, 160), written);
    assert.deepEqual(
      found.map(({ line }) => line.replace(/^half /, "")).slice(-expected.length || found.length),
      expected,
      `the last ${count}`,
    );
  }
  const [some] = (await read(await startOfLast(path, 100, rotations))).slice(20);
  assert.ok(some);
  await turn();
  const rest = await read({ ...some.end, byte: some.end.byte + 1 });
  assert.deepEqual(rest.at(0)?.line.replace(/^half /, ""), `line ${Number(/\d+/.exec(some.line)?.[0]) + 1}`);
  stop.abort();
  await reading;
});

test("what was rotated begins where its time says, and is dated", async (t) => {
  const { path, rotations, times, write } = await datedOutput(t);
  await write(1000, "12345");
  await write(2000, "67890");
  await rotations.during(path, () => rotate(path, { maxBytes: 1, keep: 2 }));
  await write(3000, "abc");
  assert.equal(times.writtenBy(path, 0, 7), 2000);
  assert.equal(times.writtenBy(path, 0, 12), 3000);
  assert.equal(times.writtenBy(path, 1, 1), 3000);
  assert.deepEqual(
    [times.sizeAt(path, 0, 1500), times.sizeAt(path, 1, 1500), times.sizeAt(path, 1, 3000)],
    [5, undefined, 3],
  );
  assert.equal(rotations.startOf(path, 0), 9);
});
