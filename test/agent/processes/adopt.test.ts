import assert from "node:assert/strict";
import { mkdir, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { isAlive } from "../../../src/agent/processes/identity";
import { writeFileAtomic } from "../../../src/agent/support/files";
import { until } from "../../support/until";
import { bench, identityOf, nextExit, script } from "./support";

/** Waits until a script has said that it is at work: one that only executes yet has set no trap, and started nothing. */
async function begun(directory: string, id: string): Promise<void> {
  const output = () => readFile(join(directory, id, "output.log"), "utf8");
  await until(`${id} to have begun`, async () => (await output()) === "begun\n");
}

test("processes outlive a killed agent and are adopted; exits meanwhile and later are known", async (t) => {
  const { directory, open, launchFromDyingAgent, events } = await bench(t);
  const loop = "while :; do sleep 0.02; done";
  const [gone, stays] = await launchFromDyingAgent({
    gone: script(`trap 'exit 7' USR1; echo begun; ${loop}`, { labels: { release: "v1" } }),
    stays: script(`trap 'exit 3' USR1; echo begun; ${loop}`, { labels: { release: "v2" } }),
    stopped: script(`trap 'exit 4' TERM; echo begun; ${loop}`),
    both: script("exec sleep 60"),
  });
  for (const id of ["gone", "stays", "stopped"]) await begun(directory, id);
  const shim = identityOf(gone?.group);
  process.kill(gone?.pid ?? 0, "SIGUSR1");
  await until("the shim of gone has ended", () => !isAlive(shim));
  const host = await open();
  const { state, labels, adopted, exit } = host.get("gone") ?? {};
  assert.deepEqual(
    [state, labels, adopted, exit?.code, exit?.signal, exit?.reason],
    ["exited", { release: "v1" }, true, 7, null, undefined],
  );
  assert.deepEqual(host.get("stays"), { ...stays, adopted: true });
  assert.equal(events.filter(({ message }) => /is adopted/.test(message)).length, 3);

  const ended = nextExit(host, "stays");
  process.kill(stays?.pid ?? 0, "SIGUSR1");
  assert.equal((await ended).exit?.code, 3);
  assert.equal((await host.stop("stopped", { signal: "SIGTERM", graceMs: 5000 })).exit?.code, 4);
  const lost = nextExit(host, "both");
  process.kill(-(host.get("both")?.group ?? 0), "SIGKILL");
  assert.match((await lost).exit?.reason ?? "", /its shim was killed, too/);
});

test("more processes than are read at once are adopted, each as it is, also where some were just being started", async (t) => {
  const { directory, open, launchFromDyingAgent } = await bench(t);
  const ids = Array.from({ length: 40 }, (_, index) => `p${index}`);
  const launched = await launchFromDyingAgent(Object.fromEntries(ids.map((id) => [id, script("exec sleep 60")])));
  // As where the agent was killed between a shim's start and its first line, and nothing came of it.
  for (const id of ids.slice(0, 20)) {
    process.kill(-(launched.find((record) => record.id === id)?.group ?? 0), "SIGKILL");
    const path = join(directory, ".status", id);
    await writeFile(path, (await readFile(path, "utf8")).split("\n").slice(0, 1).join("\n").concat("\n"));
  }
  const host = await open();
  const found = ids.map((id) => [host.get(id)?.state, host.get(id)?.pid]);
  const expected = ids.map((id, index) =>
    index < 20 ? ["exited", undefined] : ["running", launched.find((record) => record.id === id)?.pid],
  );
  assert.deepEqual(found, expected);
});

test("an adopted app that ignores the signal is killed with its group", async (t) => {
  const { directory, open, launchFromDyingAgent } = await bench(t);
  const [launched] = await launchFromDyingAgent({
    a: script("trap '' TERM; sleep 60 & echo begun; while :; do sleep 0.1; done"),
  });
  await begun(directory, "a");
  const app = identityOf(launched?.pid);
  const host = await open();
  const { exit } = await host.stop("a", { signal: "SIGTERM", graceMs: 100 });
  assert.match(exit?.reason ?? "", /100 ms after SIGTERM/);
  assert(!isAlive(app));
  assert.deepEqual(await host.orphans(), []);
  host.close();
  assert.deepEqual((await open()).get("a")?.exit?.reason, exit?.reason);
});

test("what an app that died without an agent left behind is ended at adoption", async (t) => {
  const { directory, open, launchFromDyingAgent, events } = await bench(t);
  const [launched] = await launchFromDyingAgent({ a: script("sleep 60 & echo begun; wait") });
  await begun(directory, "a");
  const app = identityOf(launched?.pid);
  process.kill(app.pid, "SIGKILL");
  await until("the app is gone", () => !isAlive(app));
  const host = await open();
  await until("the leftover is reported", () => events.some(({ message }) => /left others behind/.test(message)));
  assert.equal(host.get("a")?.exit?.signal, "SIGKILL");
  assert.deepEqual(await host.orphans(), []);
});

/** Launches, closes, and forges a line of the status file before the next host opens. */
async function reopened(t: test.TestContext, forge: (status: string) => string) {
  const tools = await bench(t);
  const first = await tools.open();
  const { pid } = await first.launch("a", script("exec sleep 60"));
  first.close();
  const path = join(tools.directory, ".status", "a");
  await writeFile(path, forge(await readFile(path, "utf8")));
  return { ...tools, host: await tools.open(), app: identityOf(pid) };
}

test("a reused pid is neither adopted nor signalled", async (t) => {
  const startTimes = (status: string) =>
    status.replace(
      /^((?:app|shim) \d+ \([^)]*\)(?: \S+){19} )(\d+)/gm,
      (_, before, time) => `${before}${Number(time) - 1}`,
    );
  const { host, app } = await reopened(t, startTimes);
  const { state, exit } = host.get("a") ?? {};
  assert.deepEqual([state, exit?.reason], ["exited", "exit code unknown: its shim was killed, too"]);
  await host.remove("a");
  assert(isAlive(app));
});

test("after a reboot everything is lost, and nothing is signalled", async (t) => {
  const { host, app } = await reopened(t, (status) => status.replace(/^boot \S{36}/, `boot ${"0".repeat(36)}`));
  const { state, exit } = host.get("a") ?? {};
  assert.deepEqual([state, exit?.code, exit?.reason], ["exited", null, "lost: the host rebooted"]);
  assert(isAlive(app));
});

test("an agent killed between record and spawn leaves a process that never ran", async (t) => {
  const { directory, open } = await bench(t);
  const record = {
    version: 1,
    id: "a",
    argv: ["sleep"],
    cwd: "/",
    labels: { k: "v" },
    startedAt: new Date(0).toISOString(),
  };
  await mkdir(join(directory, "a"), { recursive: true });
  await writeFile(join(directory, "a", "record.json"), JSON.stringify(record));
  await mkdir(join(directory, "empty"));
  await writeFile(join(directory, "a-file"), "not ours");
  const host = await open();
  assert.deepEqual(
    host.list().map(({ id, state, labels, exit }) => ({ id, state, labels, exit })),
    [
      {
        id: "a",
        state: "exited",
        labels: { k: "v" },
        exit: {
          code: null,
          signal: null,
          at: "1970-01-01T00:00:00.000Z",
          reason: "lost: the agent ended before the program was executed",
        },
      },
    ],
  );
  await host.remove("a");
  assert.deepEqual((await readdir(directory)).sort(), [".status", "a-file"]);
});

test("an agent killed between spawn and the shim's first line: the process is adopted once it has written", async (t) => {
  const tools = await bench(t);
  const first = await tools.open();
  const { pid } = await first.launch("a", script("exec sleep 60"));
  first.close();
  const path = join(tools.directory, ".status", "a");
  const whole = await readFile(path, "utf8");
  await writeFile(path, whole.split("\n").slice(0, 1).join("\n").concat("\n"));
  const opening = tools.open();
  await writeFileAtomic(path, whole);
  assert.equal((await opening).get("a")?.pid, pid);
});

test("a record that cannot be read is kept aside and said, and its process is an orphan", async (t) => {
  const { directory, open, events } = await bench(t);
  const first = await open();
  const { pid, group } = await first.launch("a", { ...script(""), argv: ["sleep", "60"] });
  first.close();
  await truncate(join(directory, "a", "record.json"), 20);
  const host = await open();
  assert.deepEqual(host.list(), []);
  const kept = (await readdir(join(directory, "a"))).find((name) => name.startsWith("record.json.corrupt-")) ?? "";
  assert.equal((await readFile(join(directory, "a", kept), "utf8")).length, 20);
  const event = events.find(({ message }) => /record of process a cannot be read/.test(message));
  assert.equal(event?.data.keptAs, join(directory, "a", kept));
  const orphans = await host.orphans();
  assert.deepEqual(
    orphans.filter((orphan) => orphan.pid !== group),
    [{ ...identityOf(pid), id: "a", command: "sleep 60" }],
  );
  assert.equal(orphans.length, 2, "the shim is one, too");

  await assert.rejects(host.launch("a", { ...script(""), argv: ["./missing"] }), /does not exist/);
  // A launch that is refused has ended nothing.
  const orphan = identityOf(pid);
  // Nothing runs twice: what could not be adopted ends before its id is launched again.
  await host.launch("a", script("exec sleep 60"));
  await until("the orphan is gone", () => !isAlive(orphan));
  assert.equal(host.get("a")?.state, "running", "an earlier shim's last words are not the new one's");
  host.close();
  const again = await open();
  assert.equal(again.get("a")?.state, "running");
  await rm(join(directory, "a", kept));
});
