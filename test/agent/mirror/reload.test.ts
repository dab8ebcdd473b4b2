import assert from "node:assert/strict";
import { join } from "node:path";
import test from "node:test";
import { ask } from "../../../src/agent/haproxy/runtime/runtime-api";
import { send, side, startMirrored, until } from "./support";

test("a share changes without a reload, the rest by one, and the old worker ends", async (t) => {
  const stable = await side(t, "stable");
  const dark = await side(t, "dark");
  const agent = await startMirrored(t, { web: stable, dark });
  const { port, route } = agent;
  const look = async () => (await agent.client.edge("main"))?.observed;
  const worker = async () => (await look())?.worker?.pid;
  await route({ mirror: { to: "dark", share: "100%" } });
  const first = await worker();
  await send(port, "/copied");
  await route({ mirror: { to: "dark", share: "0%", timeout: "1 second", concurrency: 4 } });
  await send(port, "/not-copied");
  assert.equal(await worker(), first);
  // By hand; the next change mends it.
  await ask(join(agent.directory, "edges", "main", "worker.sock"), "set map splits.map mirror:api/dark 7777");
  const { how, reasons } = await agent.client.plan({
    verb: "route.set",
    route: "api",
    spec: {
      edges: ["main"],
      stable: "web",
      split: 0,
      mirror: { to: "dark", share: "0%", timeout: "1 second", concurrency: 4 },
    },
  });
  assert.deepEqual([how, reasons], ["runtime", ["the share of route api for its mirror dark is 7777, not 0"]]);
  await route({ mirror: { to: "dark", share: "100%", maxBody: "128 KiB" } });
  assert.notEqual(await worker(), first);
  await send(port, "/last", { method: "POST", body: Buffer.alloc(128 * 1024) });
  await until("the last one has come", () => dark.got.some(({ url }) => url === "/last"));
  assert.deepEqual(
    dark.got.map(({ url, body }) => [url, body.length]),
    [
      ["/copied", 0],
      ["/last", 128 * 1024],
    ],
  );
  await until("the old worker ends", async () => (await look())?.oldWorkers.length === 0);
  await route({});
  assert.ok(!(await ask(join(agent.directory, "edges", "main", "worker.sock"), "show map")).includes("splits.map"));
});

test("a share is drawn as it says", async (t) => {
  const stable = await side(t, "stable");
  const dark = await side(t, "dark");
  const { port, route, figures } = await startMirrored(t, { web: stable, dark });
  await route({ mirror: { to: "dark", share: "33.33%", timeout: "1 minute" } });
  // Each on a connection of its own: the reload may close one that is idle just as a request is put on it.
  const requests = 6000;
  for (let sent = 0; sent < requests; sent += 50) await Promise.all(Array.from({ length: 50 }, () => send(port, "/")));
  await until("all are answered", async () => {
    const found = await figures();
    return found !== undefined && found.received > 0 && found.pending === 0 && found.received === dark.got.length;
  });
  const copies = (await figures())?.received ?? 0;
  // Six standard deviations: one of 500 million runs fails by chance.
  assert.ok(Math.abs(copies - requests / 3) < 6 * Math.sqrt((requests * 2) / 9), `${copies} of ${requests}`);
});
