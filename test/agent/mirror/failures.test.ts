import assert from "node:assert/strict";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ACK_SECONDS } from "../../../src/agent/mirror/script";
import type { MirrorFigures } from "../../../src/model/route/mirror";
import { OWNER } from "../../support/transaction";
import { routeStep, send, side, startMirrored, until } from "./support";

const MIRROR = { to: "dark", share: "100%", timeout: "1 minute" } as const;

/** Every copy that was made, whatever became of it. */
function accounted(figures: MirrorFigures | undefined): number {
  const dropped = Object.values(figures?.dropped ?? {}).reduce((sum, copies) => sum + copies, 0);
  return (figures?.answered ?? 0) + dropped;
}

/** Waits until as many copies are accounted for, and no more. */
function untilAccounted(figures: () => Promise<MirrorFigures | undefined>, copies: number): Promise<MirrorFigures> {
  let last: MirrorFigures | undefined;
  return until(
    () => `${copies} copies are accounted for, not as in ${JSON.stringify(last)}`,
    async () => {
      last = await figures();
      return accounted(last) === copies ? last : undefined;
    },
  );
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
  const { port, route, figures, backend, change } = await startMirrored(t, { web: stable, dark });
  await route({ mirror: MIRROR });
  await many(port, 20);
  await until("they are answered", async () => (await figures())?.answered === 20);

  await dark.close();
  await many(port, 40);
  const dead = await untilAccounted(figures, 60);
  assert.equal(dead.answered, 20);
  assert.ok(Object.keys(dead.dropped).every((reason) => ["connect", "down", "broken"].includes(reason)));

  await dark.open();
  slow = true;
  await route({ mirror: { ...MIRROR, timeout: "200 milliseconds", concurrency: 2 } });
  let tries = 0;
  await until("the shadow is tried again", async () => {
    tries += 1;
    await many(port, 1);
    return ((await figures())?.dropped.timeout ?? 0) > 0;
  });
  await many(port, 600);
  const after = await untilAccounted(figures, 60 + tries + 600);
  assert.equal(after.answered, 20);
  assert.ok((after.dropped.overload ?? 0) > 0, JSON.stringify(after));

  await change("backend/main/dark", { verb: "backend.set", edge: "main", backend: "dark", spec: { servers: {} } });
  // HAProxy may drop the first ones itself, by what it was last told.
  let asked = 60 + tries + 600;
  await until("the mirror to be asked again", async () => {
    asked += 1;
    await many(port, 1);
    return ((await figures())?.dropped["no-server"] ?? 0) > 0;
  });
  const { dropped } = await untilAccounted(figures, asked);
  await many(port, 5);
  const all = (dropped["no-server"] ?? 0) + 5;
  await until("they are told", async () => (await figures())?.dropped["no-server"] === all);
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
  const { port, route, figures } = await startMirrored(t, { web: stable, dark });
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
  const agent = await startMirrored(t, { web: stable, dark });
  const { port, route, figures } = agent;
  await route({ mirror: MIRROR });
  await many(port, 10);
  await until("they are answered", async () => (await figures())?.answered === 10);
  const first = (await agent.client.mirror()).pid ?? 0;

  process.kill(first, "SIGSTOP");
  await many(port, 50);
  process.kill(first, "SIGCONT");
  await untilAccounted(figures, 60);

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

test("copies count once while their mirror is stopped for longer than HAProxy waits for it, and after it", async (t) => {
  const stable = await side(t, "stable");
  const dark = await side(t, "dark");
  const agent = await startMirrored(t, { web: stable, dark });
  const { port, route, figures } = agent;
  await route({ mirror: MIRROR });
  await many(port, 10);
  await untilAccounted(figures, 10);
  const { pid } = await agent.client.mirror();

  process.kill(pid ?? 0, "SIGSTOP");
  await many(port, 50);
  await sleep((ACK_SECONDS + 2) * 1000);
  process.kill(pid ?? 0, "SIGCONT");
  await many(port, 20);
  const after = await untilAccounted(figures, 80);
  assert.ok((after.dropped.away ?? 0) > 0, JSON.stringify(after));
  assert.equal(dark.got.length, after.answered);
});

test("copies still come after HAProxy stood still, from when on its clock is behind the host's", async (t) => {
  const stable = await side(t, "stable");
  const dark = await side(t, "dark");
  const agent = await startMirrored(t, { web: stable, dark });
  const { port, route, figures } = agent;
  await route({ mirror: MIRROR });
  const worker = (await agent.client.edge("main"))?.observed?.worker?.pid ?? 0;
  process.kill(worker, "SIGSTOP");
  await sleep((ACK_SECONDS + 2) * 1000);
  process.kill(worker, "SIGCONT");
  await many(port, 40);
  assert.equal((await untilAccounted(figures, 40)).answered, 40);
});

test("a failing transaction takes its mirror back, a committed one ends its process", async (t) => {
  const stable = await side(t, "stable");
  const dark = await side(t, "dark");
  const agent = await startMirrored(t, { web: stable, dark });
  const { port, route } = agent;
  await route({});
  const { id } = await agent.client.begin({ target: "route/api", owner: OWNER, leaseMs: 60_000 });
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
