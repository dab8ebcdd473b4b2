import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import test, { type TestContext } from "node:test";
import type { StepInput } from "../../../src/model/protocol/transaction";
import { candidateBackend } from "../../../src/model/types/names";
import { change, OWNER } from "../../support/transaction";
import { until } from "../../support/until";
import { edgeStep, startStep, startWithPool } from "../support/pool";

type Share = Extract<StepInput, { verb: "pool.share" }>["share"];

const share = (split: number, more: Partial<Share> = {}): StepInput => ({
  verb: "pool.share",
  pool: "web",
  share: { split, ...more },
});

/** An agent with edge `main`, and release v1 of pool `web`. */
async function poolWithShares(t: TestContext) {
  const agent = await startWithPool(t);
  const { client, app, url } = agent;
  /** Steps that declare the stable release and the candidate beside it. */
  const declare = (release: string, candidate?: string): StepInput[] => {
    const { processes } = startStep(app).spec;
    const canary = candidate === undefined ? {} : { canary: { release: { id: candidate, path: app.path }, processes } };
    return [
      { ...startStep({ ...app, release }), ...canary },
      { verb: "pool.switch", pool: "web" },
      { verb: "pool.follow", pool: "web" },
    ];
  };
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

test("a candidate gets a share, and becomes the stable release with the processes that it has", async (t) => {
  const { agent, client, url, declare, counts, pids } = await poolWithShares(t);

  await t.test("both releases run, and the candidate gets its share", async () => {
    await change(client, "pool/web", [...declare("v1", "v2"), share(2500)]);
    const found = await counts(2000);
    assertShare(found, "v2", 2500);
    assert.deepEqual(Object.keys(found).toSorted(), ["v1", "v2"]);
    const { live, candidate } = (await client.pool("web")) ?? {};
    assert.equal(live?.release, "v1");
    assert.deepEqual(live?.candidate, {
      release: "v2",
      split: "25%",
      servers: { "web#0": { state: "ready", weight: 100 } },
      processes: { "web#0": "running" },
    });
    assert.deepEqual([candidate?.committed, candidate?.now], [2500, 2500]);
  });

  await t.test("a share changes live, within a transaction that is undone, too", async () => {
    const worker = (await client.edge("main"))?.observed.worker?.pid;
    const { id } = await client.begin({ target: "pool/web", owner: OWNER, leaseMs: 60_000 });
    await client.step(id, share(10_000), () => undefined);
    assert.deepEqual(await counts(100), { v2: 100 });
    await client.abort(id, "the test goes on");
    await until("the share to be back", async () => (await client.pool("web"))?.candidate?.now === 2500);
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
    assert.equal((await client.pool("web"))?.candidate?.now, 2500);
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
    assert.equal(pool?.candidate, undefined);
    assert.equal(pool?.live.candidate, undefined);
    assert.deepEqual(
      pool?.retained.map(({ release }) => release.id),
      ["v1"],
    );
    assert.equal((await client.edge("main"))?.observed.backends[candidateBackend("web")], undefined);
  });
});

test("a change that ends before its commit leaves the candidate as it was", async (t) => {
  const { agent, client, url, declare, counts, pids } = await poolWithShares(t);
  await change(client, "pool/web", [...declare("v1", "v2"), share(5000)]);
  const before = await pids();
  const stop = asking(url);
  const isBack = async () => {
    await until("the share to be back", async () => (await client.pool("web"))?.candidate?.now === 5000);
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
    undone([{ verb: "pool.withdraw", pool: "web" }, ...declare("v1")], (id) => client.abort(id, "undone")),
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
    await change(client, "pool/web", [{ verb: "pool.withdraw", pool: "web" }, ...declare("v1")]);
    assert.deepEqual(await counts(100), { v1: 100 });
    await client.settle("web");
    assert.deepEqual(await pids(), { v1: before.v1 });
  });
});

test("a candidate with another environment, and a secret, of the serving release becomes the pool's", async (t) => {
  const { agent, client, app, url, counts } = await poolWithShares(t);
  const env = { ANSWER: "a secret answer" };
  const secrets = { web: ["ANSWER"] };
  const { release, processes } = startStep({ ...app, env }).spec;
  const follow: StepInput[] = [
    { verb: "pool.switch", pool: "web" },
    { verb: "pool.follow", pool: "web" },
  ];
  const canary = { release, processes, secrets };
  await change(client, "pool/web", [{ ...startStep(app), canary }, ...follow, share(5000)]);
  assert.deepEqual(Object.keys(await counts(100)).toSorted(), ["a secret answer", "v1"]);
  const pidOf = async (generation: number) =>
    (await client.pool("web"))?.processes.find((each) => each.generation === generation)?.pid;
  const pid = await pidOf(2);
  const state = await readFile(join(agent.directory, "state.json"), "utf8");
  assert.ok(!state.includes("a secret answer"));

  // It starts again with its own environment, also by another agent.
  process.kill(agent.about.pid, "SIGKILL");
  await until("another agent to answer", async () => {
    const about = await client.about().catch(() => undefined);
    return about !== undefined && about.pid !== agent.about.pid;
  });
  assert.equal(await pidOf(2), pid);
  process.kill(pid ?? 0, "SIGKILL");
  await until("the candidate to answer again", async () => {
    const now = await pidOf(2);
    return now !== undefined && now !== pid && (await counts(20))["a secret answer"] !== undefined;
  });
  const after = await pidOf(2);

  const finish = { ...startStep({ ...app, env }), secrets };
  assert.equal((await client.plan(finish)).candidate, "serves");
  const stop = asking(url);
  await change(client, "pool/web", [finish, ...follow]);
  await client.settle("web");
  assert.deepEqual((await stop()).wrong, []);
  assert.deepEqual([await pidOf(2), (await client.pool("web"))?.generation], [after, 2]);
  assert.deepEqual(await counts(20), { "a secret answer": 20 });
});

test("clients of a candidate that is gone are served by the stable release", async (t) => {
  const { client, app, url, declare, counts, pids } = await poolWithShares(t);
  const sticky = { by: "cookie", name: "side" } as const;
  const { web } = startStep(app).spec.processes;
  assert.ok(web);
  const restart = { delay: "2 seconds", maxRestarts: 1 } as const;
  const canary = { release: { id: "v2", path: app.path }, processes: { web: { ...web, restart } } };
  const [, ...rest] = declare("v1");
  await change(client, "pool/web", [{ ...startStep(app), canary }, ...rest, share(10_000, { sticky })]);
  const first = await fetch(url);
  const cookie = first.headers.getSetCookie()[0]?.split(";")[0] ?? "";
  assert.match(cookie, /^side=\d+$/);
  assert.equal(await first.text(), "v2");

  await t.test("while it crashes and is started again, and after it has failed", async () => {
    for (const state of ["running", "failed"]) {
      await until("the candidate to answer", async () => (await counts(1, { cookie })).v2 === 1);
      const { v2 = 0 } = await pids();
      process.kill(v2, "SIGKILL");
      await until("its edge to know", async () => {
        const backends = (await client.edge("main"))?.observed.backends;
        const servers = Object.values(backends?.[candidateBackend("web")] ?? {});
        return servers.every(({ operational }) => operational === "down");
      });
      assert.deepEqual(await counts(40, { cookie }), { v1: 40 });
      await until(`the candidate to be in ${state}`, async () => {
        const all = (await client.pool("web"))?.processes ?? [];
        return all.find(({ release }) => release === "v2")?.state === state;
      });
      if (state === "failed") assert.deepEqual(await counts(40, { cookie }), { v1: 40 });
    }
  });

  await t.test("after a breach has ended the candidate, which is reported until the next one", async () => {
    const stop = asking(url);
    await change(client, "pool/web", [{ verb: "pool.withdraw", pool: "web", breach: "5xx 2 % >= 1 %" }]);
    assert.deepEqual(await counts(40, { cookie }), { v1: 40 });
    await client.settle("web");
    assert.deepEqual((await stop()).wrong, []);
    assert.deepEqual(Object.keys(await pids()), ["v1"]);
    const { withdrawn, candidate, live } = (await client.pool("web")) ?? {};
    assert.deepEqual([withdrawn?.release, withdrawn?.why], ["v2", "5xx 2 % >= 1 %"]);
    assert.deepEqual([candidate, live?.candidate], [undefined, undefined]);
    await change(client, "pool/web", [...declare("v1", "v3"), share(10_000, { sticky })]);
    // A worker of before knows nothing of it, and answers once more on each connection.
    await until("the next candidate to answer", async () => (await counts(1, { cookie })).v3 === 1);
    assert.equal((await client.pool("web"))?.withdrawn, undefined);
  });
});

test("testers and sticky clients, also of a route that leads to the pool", async (t) => {
  const { client, url, declare, counts } = await poolWithShares(t);
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

test("a candidate gets its share although no request leads to its pool yet", async (t) => {
  const { client, url, declare, counts } = await poolWithShares(t);
  const edge = edgeStep(Number(new URL(url).port));
  const { frontends } = edge.verb === "edge.set" ? edge.spec : assert.fail();
  const elsewhere = { http: { ...(frontends.http ?? assert.fail()), defaultBackend: "elsewhere" } };
  await change(client, "edge/main", [{ verb: "edge.set", edge: "main", spec: { frontends: elsewhere } }]);
  await change(client, "pool/web", [...declare("v1", "v2"), share(2500)]);
  assert.equal((await client.pool("web"))?.candidate?.now, 2500);
  await change(client, "pool/web", [share(5000)]);
  await change(client, "edge/main", [edge]);
  assertShare(await counts(400), "v2", 5000);
});
