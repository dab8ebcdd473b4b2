import assert from "node:assert/strict";
import test from "node:test";
import type { MirrorFigures } from "../../../src/model/route/mirror";
import { owner, routeStep, send, side, until, world } from "./world";

const MIRROR = { to: "dark", share: "100%", timeout: "1 minute" } as const;

/** Every copy that was made, whatever became of it. */
function accounted(figures: MirrorFigures | undefined): number {
  const dropped = Object.values(figures?.dropped ?? {}).reduce((sum, copies) => sum + copies, 0);
  return (figures?.answered ?? 0) + dropped;
}

async function many(port: number, requests: number): Promise<void> {
  for (let sent = 0; sent < requests; sent += 20)
    await Promise.all(
      Array.from({ length: Math.min(20, requests - sent) }, async () => {
        assert.equal((await send(port, "/")).text, "stable");
      }),
    );
}

test("a dead shadow, a slow one and one that is gone drop copies, counted by reason, and no request sees it", async (t) => {
  const stable = await side(t, "stable");
  let slow = false;
  const dark = await side(t, "dark", (_, response) => {
    if (!slow) response.end("dark");
  });
  const { port, route, figures, backend, change } = await world(t, { web: stable, dark });
  await route({ mirror: MIRROR });
  await many(port, 20);
  await until("they are answered", async () => (await figures())?.answered === 20);

  await dark.close();
  await many(port, 40);
  await until("all are accounted for", async () => accounted(await figures()) === 60);
  const dead = await figures();
  assert.equal(dead?.answered, 20);
  assert.ok(Object.keys(dead?.dropped ?? {}).every((reason) => ["connect", "down", "broken"].includes(reason)));

  await dark.open();
  slow = true;
  await route({ mirror: { ...MIRROR, timeout: "200 milliseconds", concurrency: 2 } });
  await until("the shadow is tried again", async () => {
    await many(port, 1);
    return ((await figures())?.dropped.timeout ?? 0) > 0;
  });
  const before = await figures();
  await many(port, 600);
  await until(
    "all are accounted for",
    async () => accounted(await figures()) === accounted(before) + 600 + (before?.pending ?? 0),
  );
  const after = await figures();
  assert.equal(after?.answered, 20);
  assert.ok((after?.dropped.overload ?? 0) > 0, JSON.stringify(after));

  await change("backend/main/dark", { verb: "backend.set", edge: "main", backend: "dark", spec: { servers: {} } });
  await many(port, 5);
  await until("they are told", async () => (await figures())?.dropped["no-server"] === 5);
  slow = false;
  await backend("dark", dark.port);
  await until("the shadow answers again", async () => {
    await many(port, 1);
    return ((await figures())?.answered ?? 0) > 20;
  });
});

test("of a shadow that has enough to do, HAProxy makes no copies, until it has less", async (t) => {
  const stable = await side(t, "stable");
  let slow = true;
  const held: (() => void)[] = [];
  const dark = await side(t, "dark", (_, response) => {
    if (slow) held.push(() => response.end("dark"));
    else response.end("dark");
  });
  const { port, route, figures } = await world(t, { web: stable, dark });
  await route({ mirror: { ...MIRROR, concurrency: 1 } });
  await until("copies are dropped that never came", async () => {
    await many(port, 20);
    const { received = 0, pending = 0, dropped } = (await figures()) ?? {};
    return pending + (dropped?.overload ?? 0) > received;
  });
  slow = false;
  for (const answer of held) answer();
  await until("copies come again", async () => {
    await many(port, 1);
    const { answered = 0, received = 0, pending = 0 } = (await figures()) ?? {};
    return pending === 0 && answered > 0 && answered === received;
  });
});

test("an agent whose mirror is killed or stopped, or that is killed or stopped itself, costs copies only", async (t) => {
  const stable = await side(t, "stable");
  const dark = await side(t, "dark");
  const { agent, port, route, figures } = await world(t, { web: stable, dark });
  await route({ mirror: MIRROR });
  await many(port, 10);
  await until("they are answered", async () => (await figures())?.answered === 10);
  const first = (await agent.client.mirror()).pid ?? 0;

  process.kill(first, "SIGSTOP");
  await many(port, 50);
  process.kill(first, "SIGCONT");
  await until("all are accounted for", async () => accounted(await figures()) === 60);

  process.kill(first, "SIGKILL");
  await many(port, 50);
  const second = await until("it is started again", async () => {
    await many(port, 1);
    const { pid, routes } = await agent.client.mirror();
    return pid !== null && pid !== first && (routes.api?.answered ?? 0) > 0 ? pid : undefined;
  });
  await until("what was lost is told", async () => ((await figures())?.dropped.away ?? 0) > 0);

  process.kill(agent.about.pid, "SIGSTOP");
  await many(port, 50);
  process.kill(agent.about.pid, "SIGCONT");
  process.kill(agent.about.pid, "SIGKILL");
  await many(port, 50);
  await until("the next agent mirrors", async () => {
    await many(port, 1);
    const found = await agent.client.mirror().catch(() => undefined);
    return found !== undefined && found.pid !== second && (found.routes.api?.answered ?? 0) > 0;
  });
  const left = (await agent.processes()).filter(({ id }) => id === "mirror");
  assert.equal(left.length, 1);
});

test("a failing transaction takes its mirror back, a committed one ends its process", async (t) => {
  const stable = await side(t, "stable");
  const dark = await side(t, "dark");
  const { agent, port, route } = await world(t, { web: stable, dark });
  await route({});
  const { id } = await agent.client.begin({ target: "route/api", owner, leaseMs: 60_000 });
  await agent.client.step(id, routeStep({ mirror: MIRROR }), () => undefined);
  await until("copies come", async () => {
    await many(port, 1);
    return dark.got.length > 0;
  });
  await agent.client.abort(id, "a gate failed");
  await until("the mirror is gone", async () => (await agent.client.mirror()).pid === null);
  const before = dark.got.length;
  await many(port, 20);
  await route({ mirror: MIRROR });
  await until("copies come again", async () => {
    await send(port, "/again");
    return dark.got.some(({ url }) => url === "/again");
  });
  assert.ok(dark.got.slice(before).every(({ url }) => url === "/again"));
});
