import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import test from "node:test";
import { send, side, startMirrored, until } from "./support";

const MIRROR = { to: "dark", share: "100%", maxBody: "64 KiB", timeout: "1 minute" } as const;

test("a shadow gets what the stable server gets, bodies included, and its answers reach nobody", async (t) => {
  const stable = await side(t, "stable");
  const dark = await side(t, "dark", (_, response) => response.writeHead(503).end("dark"));
  const { url, route, figures } = await startMirrored(t, { web: stable, dark });
  await route({ mirror: MIRROR });

  const body = randomBytes(64 * 1024);
  const sizes = [0, 1, 8 * 1024, 64 * 1024];
  for (const size of sizes) {
    const response = await fetch(`${url}/put/${size}?a=1&b=%20`, {
      method: "PUT",
      body: body.subarray(0, size),
      headers: { authorization: "Bearer 1234567890", cookie: "a=b", "x-long": "x".repeat(3000), "x-twice": "1" },
    });
    assert.equal(await response.text(), "stable");
  }
  assert.equal(await (await fetch(`${url}/get`)).text(), "stable");
  await until("all copies have come", () => dark.got.length === sizes.length + 1);
  const byUrl = (got: typeof dark.got) => got.toSorted((a, b) => (a.url < b.url ? -1 : 1));
  for (const [index, copy] of byUrl(dark.got).entries()) {
    const real = byUrl(stable.got)[index];
    assert.deepEqual([copy.method, copy.url], [real?.method, real?.url]);
    assert.ok(real?.body.equals(copy.body), copy.url);
    const { connection: _, "x-sluice-mirror": mark, ...headers } = copy.headers;
    const { connection: __, ...expected } = real?.headers ?? {};
    assert.equal(mark, "api");
    assert.deepEqual(headers, expected);
  }
  const found = await figures();
  assert.deepEqual(
    [found?.received, found?.answered, found?.pending, found?.statuses, found?.dropped],
    [5, 5, 0, { 503: 5 }, {}],
  );
  assert.ok(found?.latency !== null);
});

test("what can't be copied is dropped and counted, and its request goes on", async (t) => {
  const stable = await side(t, "stable");
  const dark = await side(t, "dark");
  const { url, port, route, figures } = await startMirrored(t, { web: stable, dark });
  await route({ mirror: MIRROR });
  const large = await fetch(`${url}/large`, { method: "POST", body: Buffer.alloc(64 * 1024 + 1) });
  assert.equal(await large.text(), "stable");
  const stream = new ReadableStream({
    start: (controller) => {
      controller.enqueue(Buffer.from("a"));
      controller.close();
    },
  });
  const streamed = await fetch(`${url}/streamed`, { method: "POST", body: stream, duplex: "half" } as RequestInit);
  assert.equal(await streamed.text(), "stable");
  assert.deepEqual(
    stable.got.map(({ url, body }) => [url, body.length]),
    [
      ["/large", 64 * 1024 + 1],
      ["/streamed", 1],
    ],
  );
  // Not one that is a copy, nor one that leaves HTTP behind.
  await fetch(`${url}/copy`, { headers: { "x-sluice-mirror": "other" } });
  await send(port, "/upgrade", { headers: { connection: "upgrade", upgrade: "x" } });
  await route({ mirror: { ...MIRROR, methods: ["GET"] } });
  await send(port, "/post", { method: "POST", body: Buffer.from("x") });
  await send(port, "/last");
  await until("the last one has come", () => dark.got.some(({ url }) => url === "/last"));
  assert.deepEqual(
    dark.got.map(({ url }) => url),
    ["/last"],
  );
  await until("the drops are told", async () => Object.keys((await figures())?.dropped ?? {}).length === 2);
  assert.deepEqual((await figures())?.dropped, { body: 1, unsized: 1 });
});
