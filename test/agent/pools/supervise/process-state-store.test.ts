import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { Events } from "../../../../src/agent/events/events";
import { ProcessStates } from "../../../../src/agent/pools/supervise/process-states";

const SUBJECT = { id: "web.1.side.0", pool: "web", key: "side#0", generation: 1, release: "v1" };

test("the lives of processes", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "sl-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const folder = join(directory, "processes");
  const events = new Events(directory);
  let now = 1_000_000;
  const open = () => new ProcessStates(folder, events, () => now);
  const reported = () =>
    events.recent().map(({ message, data }) => `${message}: ${data.old} -> ${data.state} (${data.reason})`);

  await t.test("are told once per change, with their reason", () => {
    const processStates = open();
    processStates.transition(SUBJECT, "launch", { reason: "deploy" });
    processStates.transition(SUBJECT, "up");
    processStates.transition(SUBJECT, "up");
    processStates.transition(SUBJECT, "keep");
    now += 5;
    processStates.transition(SUBJECT, "wait", {
      reason: "crash",
      message: "exited with code 1",
      facts: { history: [now], restarts: 1 },
    });
    assert.deepEqual(reported(), [
      "side#0 of pool web (release v1) is starting: stopped -> starting (deploy)",
      "side#0 of pool web (release v1) is running: starting -> running (deploy)",
      "side#0 of pool web (release v1) exited with code 1: running -> backoff (crash)",
    ]);
  });

  await t.test("are known to the next agent", () => {
    const state = open().get(SUBJECT.id);
    assert.deepEqual(state, {
      state: "backoff",
      since: 1_000_005,
      reason: "crash",
      history: [1_000_005],
      restarts: 1,
      offEdge: false,
    });
  });

  await t.test("need no write where they are adopted as they are", async () => {
    const file = join(folder, ".lives", `${SUBJECT.id}.json`);
    const written = async () => (await stat(file, { bigint: true })).mtimeNs;
    const before = await written();
    const processStates = open();
    processStates.adopt(SUBJECT, "backoff", {});
    assert.deepEqual([processStates.get(SUBJECT.id)?.reason, await written()], ["adopted", before]);
    processStates.adopt(SUBJECT, "running", {});
    assert.equal(open().get(SUBJECT.id)?.state, "running");
  });

  await t.test("are read whole whatever their length was before", () => {
    const file = join(folder, ".lives", `${SUBJECT.id}.json`);
    const lengths = [1, 30, 3, 400, 2].map((count) => {
      const history = Array.from({ length: count }, (_, index) => 1_000_000_000_000 + index);
      open().remember(SUBJECT.id, { history });
      assert.deepEqual(open().get(SUBJECT.id)?.history, history);
      return statSync(file).size;
    });
    const [, longer = 0, shorter = 0, longest = 0, last = 0] = lengths;
    assert.equal(shorter, longer);
    assert.ok(longest > 4096 && last < longer, String(lengths));
  });

  await t.test(
    "start afresh where their file is damaged, which is told, and what was half written is removed",
    async () => {
      const file = join(folder, ".lives", `${SUBJECT.id}.json`);
      await writeFile(file, (await readFile(file, "utf8")).slice(0, 20));
      await writeFile(`${file}.new`, "{");
      const processStates = open();
      assert.equal(processStates.get(SUBJECT.id), undefined);
      assert.equal(processStates.state(SUBJECT.id), "stopped");
      assert.match(
        events.recent().at(-1)?.message ?? "",
        /cannot be read: the restarts of that process are counted afresh/,
      );
      assert.deepEqual(await readdir(join(folder, ".lives")), []);
    },
  );

  await t.test("go on in memory where they can't be written, which is told once", async () => {
    const processStates = open();
    await rm(join(folder, ".lives"), { recursive: true });
    const before = events.recent().length;
    processStates.transition(SUBJECT, "launch", { reason: "deploy" });
    processStates.transition(SUBJECT, "up");
    assert.equal(processStates.state(SUBJECT.id), "running");
    const messages = events
      .recent()
      .slice(before)
      .filter(({ message }) => message.startsWith("what happens to processes"));
    assert.equal(messages.length, 1);
    processStates.forget(SUBJECT.id);
    assert.equal(processStates.get(SUBJECT.id), undefined);
    await events.flush();
  });
});
