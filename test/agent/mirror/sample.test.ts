import assert from "node:assert/strict";
import test from "node:test";
import type { Copy } from "../../../src/agent/mirror/messages";
import { Reservoir, redactedPath, withoutSecrets } from "../../../src/agent/mirror/reservoir";
import { parseRequest } from "../../../src/model/parity/request";
import { send, side, startMirrored, until } from "./support";

const JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";

function copy(path: string, headers: Copy["headers"] = []): Copy {
  return { edge: "main", route: "api", method: "GET", source: "127.0.0.1", path, headers, body: Buffer.alloc(0) };
}

test("no secret is kept: neither by its name nor by its shape", () => {
  const hidden: [path: string, expected: string][] = [
    ["/a?q=cat&page=2", "/a?q=cat&page=2"],
    ["/a?access_token=abc&q=1", "/a?access_token=redacted&q=1"],
    ["/a?api%5Fkey=abc", "/a?api%5Fkey=redacted"],
    [`/a?x=${JWT}`, "/a?x=redacted"],
    [`/a?x=Bearer%20${JWT}`, "/a?x=redacted"],
    [`/a?x=${"0123456789abcdef".repeat(2)}`, "/a?x=redacted"],
    [`/a?${"0123456789abcdef".repeat(2)}`, "/a?redacted"],
    ["/a?password=", "/a?password=redacted"],
    ["/a?%zz=%zz", "/a?%zz=%zz"],
    ["/a?", "/a?"],
    ["/a?session=1&session_id=2&author=me", "/a?session=redacted&session_id=redacted&author=me"],
  ];
  for (const [path, expected] of hidden) assert.equal(redactedPath(path), expected);
  const headers: Copy["headers"] = [
    ["host", "x"],
    ["authorization", "Bearer 1"],
    ["cookie", "a=b"],
    ["x-api-key", "1"],
    ["accept", "application/json"],
    ["accept-language", "de"],
  ];
  assert.deepEqual(withoutSecrets(copy("/a?q=1", headers)), {
    method: "GET",
    path: "/a?q=1",
    headers: { accept: "application/json", "accept-language": "de" },
  });
  for (const path of [`/reset/${JWT}`, "/a;token=abc/b", `/${"x".repeat(3000)}`, "http://x/", "*"])
    assert.equal(withoutSecrets(copy(path)), undefined, path);
});

test("a sample is bounded, each request has the same chance, and it does not grow old", () => {
  const hits = new Map<string, number>();
  let seed = 1;
  const draw = () => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed / 2_147_483_647;
  };
  for (let round = 0; round < 2000; round++) {
    const reservoir = new Reservoir(5);
    for (let index = 0; index < 20; index++) reservoir.add(copy(`/${index}`), 1, draw);
    assert.equal(reservoir.requests().length, 5);
    for (const { path } of reservoir.requests()) hits.set(path, (hits.get(path) ?? 0) + 1);
  }
  // Each is kept with a chance of 1/4: 500 of 2000, with a standard deviation below 20.
  for (let index = 0; index < 20; index++)
    assert.ok(Math.abs((hits.get(`/${index}`) ?? 0) - 500) < 120, `${index}: ${hits.get(`/${index}`)}`);

  const reservoir = new Reservoir(100);
  for (let index = 0; index < 100_000; index++) reservoir.add(copy("/old"), 1, draw);
  for (let index = 0; index < 1000; index++) reservoir.add(copy("/new"), 4_000_000, draw);
  assert.ok(reservoir.requests().filter(({ path }) => path === "/new").length > 80);
  reservoir.resize(10);
  assert.equal(reservoir.requests().length, 10);
});

test("an edge keeps a sample of a route's GETs that sluice parity can read", async (t) => {
  const stable = await side(t, "stable");
  const agent = await startMirrored(t, { web: stable });
  const { port, route } = agent;
  const sample = async () => {
    const found: object[] = [];
    for await (const line of agent.client.sample("api")) found.push(line);
    return found;
  };
  await route({});
  await assert.rejects(sample(), /route api is not sampled on this agent: declare `sample` on it/);
  await route({ sample: { requests: 5, share: "100%" } });
  const secret = { authorization: "Bearer 12345678", cookie: "id=12345678", accept: "application/json" };
  await send(port, "/post", { method: "POST", body: Buffer.from("x") });
  for (let index = 0; index < 5; index++) await send(port, `/get/${index}?q=a%20b&token=12345678`, { headers: secret });
  const lines = await until("the sample has all", async () => {
    const found = await sample();
    return found.length === 5 ? found : undefined;
  });
  assert.ok(!JSON.stringify(lines).includes("12345678"));
  const requests = lines.map((line) => {
    const parsed = parseRequest(JSON.stringify(line));
    assert.ok("request" in parsed);
    return parsed.request;
  });
  assert.deepEqual(
    requests.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
    Array.from({ length: 5 }, (_, index) => ({
      kind: "general",
      method: "GET",
      path: `/get/${index}?q=a%20b&token=redacted`,
      headers: { accept: "application/json" },
    })),
  );
  await send(port, "/one-more");
  await route({});
  await assert.rejects(sample(), /is not sampled/);
});
