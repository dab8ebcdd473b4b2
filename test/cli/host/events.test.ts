import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { send } from "../../../src/agent/processes/identity";
import { parseSince } from "../../../src/cli/common/since";
import { eventLine, eventText } from "../../../src/cli/events";
import type { AgentEvent } from "../../../src/model/protocol/transaction";
import { edgeStep } from "../../agent/support/pool";
import { startTestAgent } from "../../support/agent";
import { freeRange } from "../../support/ports";
import { change } from "../../support/transaction";
import { until } from "../../support/until";
import { follow } from "../support/sluice";
import { world } from "../support/world";

const lines = (text: string): AgentEvent[] =>
  text
    .trim()
    .split("\n")
    .filter(Boolean)
    .map((line) => eventLine.parse(JSON.parse(line)));

test("events shows the past, filtered by what they are about and since when, also of an agent before this one", async (t) => {
  const { sluice, client, about, guard } = await world(t);
  const before = new Date().toISOString();
  const { from } = await freeRange(1);
  await change(client, "edge/other", [edgeStep(from, "other")]);
  send(about.pid, "SIGKILL");
  await until("the guard to start another agent", async () => (await client.about()).pid !== about.pid, {
    deadlineMs: 60_000,
  });
  assert.ok(guard > 0);

  const all = lines((await sluice(["events", "--json", "--since", "1h"])).stdout);
  assert.ok(all.some(({ message }) => message.startsWith("web#0 of pool web (release v1) is running")));
  assert.deepEqual(
    all.map(({ at }) => at),
    all.map(({ at }) => at).toSorted(),
  );
  // An event in both the file and the new agent's memory is shown once.
  const starts = all.filter(({ message }) => /^the agent .* listens on/.test(message));
  assert.equal(starts.length, 2);

  const pool = lines((await sluice(["events", "--json", "--since", "1h", "--pool", "web"])).stdout);
  assert.ok(pool.length > 3);
  assert.deepEqual(
    pool.filter(({ data }) => data.pool !== "web" && data.target !== "pool/web"),
    [],
  );
  const other = lines((await sluice(["events", "--json", "--edge", "other", "--since", before])).stdout);
  assert.ok(other.some(({ data }) => data.target === "edge/other"));
  const one = lines((await sluice(["events", "--json", "--process", "web#1", "--since", "1h", "--last", "1"])).stdout);
  assert.equal(one.length, 1);
  assert.equal(one[0]?.data.key, "web#1");

  const text = await sluice(["events", "--last", "3"]);
  assert.equal(text.code, 0);
  assert.match(text.stdout, /^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d {2}.+\n){3}$/);

  const unknown = await sluice(["events", "--pool", "wbe"]);
  assert.equal(unknown.code, 2);
  assert.equal(unknown.stderr, 'sluice: there is no pool "wbe": did you mean web?\n');
});

test("events --follow goes on with what happens, of what it is asked for only, until it is told to stop", async (t) => {
  const { client, socket, pool } = await world(t);
  const following = follow(["events", "--json", "--follow", "--last", "0", "--pool", "web", "--socket", socket]);
  t.after(() => following.child.kill("SIGKILL"));
  let replicas = 1;
  await until(
    "the follower to be there",
    async () => {
      await pool("v1", {}, replicas);
      replicas = 3 - replicas;
      return following.stdout() !== "";
    },
    { deadlineMs: 60_000 },
  );
  await change(client, "edge/main", [edgeStep((await freeRange(1)).from)]);
  await pool("v9");
  await until("the promotion to be told", () => following.stdout().includes("(release v9) is running"));
  following.child.kill("SIGINT");
  const [code] = await once(following.child, "close");
  assert.equal(code, 0);
  assert.deepEqual(
    lines(following.stdout()).filter(({ data }) => data.target === "edge/main"),
    [],
  );
});

test("the agent's log file has each event as a line, and SIGHUP goes on in a new one after it was moved away", async (t) => {
  const agent = await startTestAgent(t);
  const log = join(agent.directory, "sluice.log");
  const other = await startTestAgent(t, { agent: { log } });
  const has = async (file: string, message: RegExp) => {
    const text = await readFile(file, "utf8").catch(() => "");
    return lines(text).some((event) => message.test(event.message));
  };
  await until("the start to be logged", () => has(log, /^the agent .* listens on/));
  await rename(log, `${log}.1`);
  const { from } = await freeRange(1);
  await change(other.client, "edge/main", [edgeStep(from)]);
  await until("what happens meanwhile to be in the old file", () => has(`${log}.1`, /transaction on edge\/main/));
  send(other.about.pid, "SIGHUP");
  await until("a new file", () =>
    readFile(log, "utf8").then(
      () => true,
      () => false,
    ),
  );
  await change(other.client, "edge/main", [{ verb: "edge.remove", edge: "main" }]);
  await until("what happens then to be in the new one", () => has(log, /transaction on edge\/main/));
});

test("an event takes lines of the screen's width, and nothing of it can steer the terminal", () => {
  const event = { at: "2026-01-31T14:05:09.000Z", message: `${"word ".repeat(30)}\nlast \u001b[31mline`, data: {} };
  const text = eventText(event, { colour: false, width: 80 });
  assert.ok(text.split("\n").every((line) => line.length <= 80));
  assert.equal(text.includes("\u001b"), false);
  assert.match(text, /\n {21}last line\n$/);
});

test("times are spans before now or points in time", () => {
  const now = new Date("2026-01-31T14:00:00.000Z");
  assert.equal(parseSince("10m", now).toISOString(), "2026-01-31T13:50:00.000Z");
  assert.equal(parseSince("30 seconds", now).toISOString(), "2026-01-31T13:59:30.000Z");
  assert.equal(parseSince("2026-01-30T10:00:00Z", now).toISOString(), "2026-01-30T10:00:00.000Z");
  for (const text of ["", "yesterday", "10", "10y", "5 parsecs", "-1m"])
    assert.throws(() => parseSince(text, now), /is not a time: give a span/);
});
