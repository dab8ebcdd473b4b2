import assert from "node:assert/strict";
import { request } from "node:http";
import { text } from "node:stream/consumers";
import test, { type TestContext } from "node:test";
import { candidateBackend } from "../../model/names";
import type { StepInput } from "../../model/transaction";
import { startTestAgent } from "../support/agent";
import { until } from "../support/until";
import { type AppOptions, change, edgeStep, freeRange, OWNER, promote, releaseFolder, startStep } from "./support/pool";

type Share = Extract<StepInput, { verb: "pool.share" }>["share"];

const share = (split: number, more: Partial<NonNullable<Share>> = {}): StepInput => ({
  verb: "pool.share",
  pool: "web",
  share: { split, ...more },
});

/** An agent with edge `main`, and release v1 of pool `web`. */
async function world(t: TestContext) {
  const agent = await startTestAgent(t);
  const { client } = agent;
  const { from, to } = await freeRange(9);
  const app: AppOptions = {
    path: await releaseFolder(agent.directory),
    ports: { from: from + 1, to },
    release: "v1",
  };
  await change(client, "edge/main", [edgeStep(from)]);
  await promote(client, app);
  const url = `http://127.0.0.1:${from}/`;
  /** Steps that declare the stable release and the one that is tried beside it. */
  const declare = (release: string, tried?: string): StepInput[] => [
    { ...startStep({ ...app, release }), ...(tried === undefined ? {} : { canary: { id: tried, path: app.path } }) },
    { verb: "pool.switch", pool: "web" },
    { verb: "pool.follow", pool: "web" },
  ];
  const counts = async (requests: number, headers: Record<string, string> = {}) => {
    const found: Record<string, number> = {};
    for (let left = requests; left > 0; left -= 20) {
      const some = Array.from({ length: Math.min(left, 20) }, async () => (await fetch(url, { headers })).text());
      for (const text of await Promise.all(some)) found[text] = (found[text] ?? 0) + 1;
    }
    return found;
  };
  const pids = async () => {
    const all = (await client.pool("web"))?.processes ?? [];
    return Object.fromEntries(all.filter(({ state }) => state === "running").map(({ release, pid }) => [release, pid]));
  };
  return { agent, client, app, url, declare, counts, pids };
}

/** Whether a share of requests is a split, within five standard deviations. */
function assertShare(found: Record<string, number>, release: string, split: number): void {
  const all = Object.values(found).reduce((sum, count) => sum + count, 0);
  const expected = (all * split) / 10_000;
  const deviation = Math.sqrt(expected * (1 - split / 10_000));
  const is = found[release] ?? 0;
  assert.ok(Math.abs(is - expected) <= 5 * deviation, `${is} of ${all} went to ${release}, not about ${expected}`);
}

/** Asks again and again until it is stopped; resolves with what was wrong and how many answers came from each release. */
function asking(url: string) {
  let stopped = false;
  const wrong: string[] = [];
  const found: Record<string, number> = {};
  const clients = Array.from({ length: 4 }, async () => {
    while (!stopped)
      try {
        const answer = await fetch(url);
        const text = await answer.text();
        if (answer.status !== 200) wrong.push(`${answer.status} ${text}`);
        found[text] = (found[text] ?? 0) + 1;
      } catch (error) {
        wrong.push(String(error));
      }
  });
  return async () => {
    stopped = true;
    await Promise.all(clients);
    return { wrong, found };
  };
}

test("a release is tried with a share, and becomes the stable one with the processes that it has", async (t) => {
  const { agent, client, url, declare, counts, pids } = await world(t);

  await t.test("both releases run, and the candidate gets its share", async () => {
    await change(client, "pool/web", [...declare("v1", "v2"), share(2500)]);
    const found = await counts(2000);
    assertShare(found, "v2", 2500);
    assert.deepEqual(Object.keys(found).toSorted(), ["v1", "v2"]);
    const { live, canary } = (await client.pool("web")) ?? {};
    assert.equal(live?.release, "v1");
    assert.deepEqual(live?.candidate, {
      release: "v2",
      split: "25%",
      servers: { "web#0": { state: "ready", weight: 100 } },
      processes: { "web#0": "running" },
    });
    assert.deepEqual([canary?.committed, canary?.now], [2500, 2500]);
  });

  await t.test("a share changes live, within a transaction that is undone, too", async () => {
    const worker = (await client.edge("main"))?.observed.worker?.pid;
    const { id } = await client.begin({ target: "pool/web", owner: OWNER, leaseMs: 60_000 });
    await client.step(id, share(10_000), () => undefined);
    assert.deepEqual(await counts(100), { v2: 100 });
    await client.abort(id, "the test goes on");
    await until("the share to be back", async () => (await client.pool("web"))?.canary?.now === 2500);
    assert.equal((await client.edge("main"))?.observed.worker?.pid, worker);
  });

  await t.test("the share outlives a HAProxy that is killed, and an agent that is", async () => {
    const before = await pids();
    const master = (await client.edge("main"))?.observed.master ?? 0;
    process.kill(master, "SIGKILL");
    await until("another HAProxy to run", async () => {
      const observed = (await client.edge("main"))?.observed;
      return observed?.running === true && observed.master !== master;
    });
    assertShare(await counts(400), "v2", 2500);
    process.kill(agent.about.pid, "SIGKILL");
    await until("another agent to answer", async () => {
      const pid = await client.about().then(
        (about) => about.pid,
        () => undefined,
      );
      return pid !== undefined && pid !== agent.about.pid;
    });
    assert.deepEqual(await pids(), before);
    assert.equal((await client.pool("web"))?.canary?.now, 2500);
  });

  await t.test("finishing fails no request and restarts nothing", async () => {
    const before = await pids();
    const stop = asking(url);
    await change(client, "pool/web", [share(10_000)]);
    await change(client, "pool/web", declare("v2"));
    assert.deepEqual(await counts(100), { v2: 100 });
    await client.settle("web");
    const { wrong, found } = await stop();
    assert.deepEqual(wrong, []);
    assert.deepEqual(Object.keys(found).toSorted(), ["v1", "v2"]);
    assert.deepEqual(await pids(), { v2: before.v2 });
    const pool = await client.pool("web");
    assert.equal(pool?.live.release, "v2");
    assert.equal(pool?.canary, undefined);
    assert.equal(pool?.live.candidate, undefined);
    assert.deepEqual(
      pool?.retained.map(({ release }) => release.id),
      ["v1"],
    );
    assert.equal((await client.edge("main"))?.observed.backends[candidateBackend("web")], undefined);
  });
});

test("what ends before its commit leaves the release that is tried as it was", async (t) => {
  const { agent, client, url, declare, counts, pids } = await world(t);
  await change(client, "pool/web", [...declare("v1", "v2"), share(5000)]);
  const before = await pids();
  const stop = asking(url);
  const isBack = async () => {
    await until("the share to be back", async () => (await client.pool("web"))?.canary?.now === 5000);
    await until("both releases to run as before", async () => {
      const now = await pids();
      return now.v1 === before.v1 && now.v2 === before.v2 && Object.keys(now).length === 2;
    });
  };
  const undone = async (steps: StepInput[], end: (id: string) => Promise<unknown>) => {
    const { id } = await client.begin({ target: "pool/web", owner: OWNER, leaseMs: 60_000 });
    for (const step of steps) await client.step(id, step, () => undefined);
    await end(id);
    await isBack();
  };
  await t.test("finishing is undone", () => undone(declare("v2"), (id) => client.abort(id, "undone")));
  await t.test("taking it off is undone", () =>
    undone([{ verb: "pool.share", pool: "web", share: null }, ...declare("v1")], (id) => client.abort(id, "undone")),
  );
  await t.test("another release in its place is undone", () =>
    undone([...declare("v1", "v3"), share(100)], (id) => client.abort(id, "undone")),
  );
  await t.test("an agent that is killed undoes it when it is back", () =>
    undone(declare("v2"), async () => process.kill(agent.about.pid, "SIGKILL")).catch(async (error: unknown) => {
      // Nobody answers until the next agent does.
      assert.match(String(error), /can't be reached|ECONN|answer/);
      await until("another agent to answer", async () =>
        client.about().then(
          () => true,
          () => false,
        ),
      );
      await isBack();
    }),
  );
  const { wrong } = await stop();
  assert.deepEqual(wrong, []);

  await t.test("taking it off ends it", async () => {
    await change(client, "pool/web", [{ verb: "pool.share", pool: "web", share: null }, ...declare("v1")]);
    assert.deepEqual(await counts(100), { v1: 100 });
    await client.settle("web");
    assert.deepEqual(await pids(), { v1: before.v1 });
  });
});

test("testers and sticky clients, also of a route that leads to the pool", async (t) => {
  const { client, url, declare, counts } = await world(t);
  const testers = { header: "x-tester", value: "yes" };
  await change(client, "pool/web", [...declare("v1", "v2"), share(0, { testers })]);
  assert.deepEqual(await counts(50), { v1: 50 });
  assert.deepEqual(await counts(50, { "x-tester": "yes" }), { v2: 50 });
  await change(client, "pool/web", [share(5000, { sticky: { by: "header", name: "x-user" } })]);
  // Each on a connection of its own, and so on the newest worker.
  const ask = (user: number) =>
    new Promise<string>((resolve, reject) => {
      const options = { agent: false, headers: { "x-user": `u${user}` } };
      request(url, options, (response) => void text(response).then(resolve, reject))
        .on("error", reject)
        .end();
    });
  const sides = () => Promise.all(Array.from({ length: 40 }, (_, user) => ask(user)));
  const first = await sides();
  assert.deepEqual([...new Set(first)].toSorted(), ["v1", "v2"]);
  await change(client, "route/api", [
    { verb: "route.set", route: "api", spec: { edges: ["main"], stable: "web", split: 0 } },
  ]);
  assert.deepEqual(await sides(), first);
  await change(client, "pool/web", [share(9999, { sticky: { by: "header", name: "x-user" } })]);
  const risen = await sides();
  assert.deepEqual(
    first.filter((side, user) => side === "v2" && risen[user] !== "v2"),
    [],
  );
});
