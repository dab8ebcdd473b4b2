import assert from "node:assert/strict";
import test from "node:test";
import { restartDocument } from "../../../src/cli/restart";
import { world } from "../support/world";

test("restart takes a pool, a process, a replica or a policy, and says what it did", async (t) => {
  const { sluice, client, url } = await world(t, {
    worker: { policy: "companion", command: ["sleep", "10000"], replicas: 2 },
  });
  const pids = async () =>
    Object.fromEntries(((await client.pool("web"))?.processes ?? []).map(({ key, pid }) => [key, pid]));
  const changed = async (before: Record<string, number | undefined>) => {
    const after = await pids();
    return Object.keys(after)
      .filter((key) => after[key] !== before[key])
      .toSorted();
  };
  let before = await pids();
  const one = await sluice(["restart", "web/worker#1", "--json"]);
  assert.equal(one.code, 0, one.stderr);
  assert.deepEqual(restartDocument.parse(JSON.parse(one.stdout)), { pool: "web", restarted: ["worker#1"] });
  assert.deepEqual(await changed(before), ["worker#1"]);

  before = await pids();
  assert.equal((await sluice(["restart", "web", "--policy", "companion"])).code, 0);
  assert.deepEqual(await changed(before), ["worker#0", "worker#1"]);

  before = await pids();
  const cut = await sluice(["restart", "web/web"]);
  assert.equal(cut.code, 1);
  assert.match(cut.stderr, /would cut the traffic of pool web: .* restart them rolling/);
  assert.deepEqual(await changed(before), []);

  // Requests go on all the while, and none of them fails.
  let over = false;
  let answered = 0;
  const load = (async () => {
    while (!over) {
      const response = await fetch(url);
      assert.equal(response.status, 200);
      await response.text();
      answered += 1;
    }
  })();
  const rolling = await sluice(["restart", "web", "--rolling"]);
  over = true;
  await load;
  assert.equal(rolling.code, 0, rolling.stderr);
  assert.match(
    rolling.stdout,
    /web#0 of pool web \(release v1\) is running\n(?:.*\n)+4 processes of pool web restarted: .*\n$/,
  );
  assert.ok(answered > 0);
  assert.deepEqual(await changed(before), ["web#0", "web#1", "worker#0", "worker#1"]);

  const unknown = await sluice(["restart", "wbe"]);
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /did you mean web/);
  assert.equal((await sluice(["restart"])).code, 2);
});

test("restart refuses the only replica that takes the traffic", async (t) => {
  const { sluice } = await world(t, {}, 1);
  const { code, stderr } = await sluice(["restart", "web", "--rolling"]);
  assert.equal(code, 1);
  assert.match(stderr, /web#0 is the only replica that takes the traffic: declare a second replica/);
});
