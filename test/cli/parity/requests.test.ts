import assert from "node:assert/strict";
import { statSync } from "node:fs";
import test from "node:test";
import { type Answering, serve } from "../support/servers";
import { bench, scores } from "../support/sluice";

test("general requests go to both sides with their headers and body, and the mapping may move them", async (t) => {
  const answer: Answering = ({ url, body }, response) =>
    response.end(JSON.stringify({ data: [url.split("?")[1] ?? "", body] }));
  const upstream = await serve(t, answer);
  const candidate = await serve(t, answer);
  const { parity } = await bench(t, { url: `${upstream.url}/base/` }, candidate, { "/old": "/new" });
  const { code, stdout } = await parity([
    { path: "/same?a=1&b=%20", headers: { "X-Tenant": "t1", Connection: "close", Host: "shop.example" } },
    { method: "post", path: "/old?x=1", body: { n: 1 } },
    { method: "POST", path: "/text", headers: { "content-type": "text/plain" }, body: "hello" },
  ]);
  assert.equal(code, 0, stdout);
  const sent = ({ seen }: typeof upstream) =>
    seen.map(({ method, url, headers, body }) => `${method} ${url} ${headers["content-type"] ?? ""} ${body}`).sort();
  assert.deepEqual(sent(upstream), [
    "GET /base/same?a=1&b=%20  ",
    'POST /base/old?x=1 application/json {"n":1}',
    "POST /base/text text/plain hello",
  ]);
  assert.deepEqual(sent(candidate), [
    "GET /same?a=1&b=%20  ",
    'POST /new?x=1 application/json {"n":1}',
    "POST /text text/plain hello",
  ]);
  const get = upstream.seen.find(({ method }) => method === "GET");
  assert.deepEqual(
    [get?.headers["x-tenant"], get?.headers.host, get?.headers.connection],
    ["t1", "shop.example", "keep-alive"],
  );
});

test("secrets reach the sides that they are for, and no output", async (t) => {
  const SECRET = "s3cr3t-of-upstream";
  const leak: Answering = ({ headers }, response) =>
    response.end(
      JSON.stringify({
        data: [{ seen: headers.authorization ?? "none", api_key: headers["x-trace"], author: headers.cookie }],
      }),
    );
  const upstream = await serve(t, leak);
  const candidate = await serve(t, leak);
  const { parity, folder, write } = await bench(t, upstream, candidate);
  const file = await write("headers", "Cookie: id=cookie-of-both\n\nX-Trace: trace-of-both\n");
  const { code, stdout, stderr } = await parity(
    [
      { ...scores("chess"), params: { access_token: "token-in-params" } },
      { path: "/x?token=token-in-path&a=1", headers: { cookie: "id=cookie-of-line" } },
    ],
    ["--upstream-headers", "env:UPSTREAM_HEADERS", "--headers", file, "--json"],
    { env: { UPSTREAM_HEADERS: `{"Authorization": "Bearer ${SECRET}"}` } },
  );
  assert.equal(code, 1);
  for (const { headers } of upstream.seen) assert.equal(headers.authorization, `Bearer ${SECRET}`);
  for (const { headers } of candidate.seen) assert.equal(headers.authorization, undefined);
  for (const { headers } of candidate.seen) assert.equal(headers.cookie, "id=cookie-of-both");
  const { readFile } = await import("node:fs/promises");
  const written = await readFile(`${folder}/parity.json`, "utf8");
  for (const secret of [
    SECRET,
    "cookie-of-both",
    "trace-of-both",
    "token-in-params",
    "token-in-path",
    "cookie-of-line",
  ])
    assert.ok(!`${written}${stdout}${stderr}`.includes(secret), secret);
  assert.match(written, /"path":"\/x\?token=\[redacted\]&a=1"/);
  assert.match(written, /"upstream":"\[redacted\]","candidate":"none"/);
  assert.equal(statSync(`${folder}/parity.json`).mode & 0o777, 0o600);
});

test("mapped endpoints may be names, templates with parameters, or queries by POST", async (t) => {
  const upstream = await serve(t, (_, response) => response.end('{"data": [1]}'));
  const candidate = await serve(t, (_, response) => response.end('{"data": [1]}'));
  const mapping = {
    a: "best",
    b: { path: "/p/{params.player id}/b", method: "POST" },
    c: "/q?kind=c",
  };
  const { parity } = await bench(t, upstream, candidate, mapping);
  const lines = ["a", "b", "c"].map((query) => ({ game: "go 9", query, params: { "player id": "x/y", n: 5 } }));
  const big = '{"game": "go 9", "query": "b", "params": {"player id": 9007199254740993, "n": 12345678901234567890}}';
  assert.equal((await parity([...lines, big], ["--concurrency", "1"])).code, 0);
  assert.deepEqual(
    candidate.seen.map(({ method, url, body }) => [method, url, body]),
    [
      ["GET", "/api/v1/query_objects/prod/go%209/best?player+id=x%2Fy&n=5", ""],
      ["POST", "/p/x%2Fy/b", '{"n":5}'],
      ["GET", "/q?kind=c&player+id=x%2Fy&n=5", ""],
      ["POST", "/p/9007199254740993/b", '{"n":12345678901234567890}'],
    ],
  );
  candidate.seen.length = 0;
  assert.equal((await parity(lines.slice(0, 1), ["--candidate-path", "/v2/{query}/{endpoint}"])).code, 0);
  assert.equal(candidate.seen[0]?.url, "/v2/a/best?player+id=x%2Fy&n=5");
});

test("both sides are asked at the same time, within the concurrency, on connections that are kept", async (t) => {
  let waiting: (() => void)[] = [];
  const seen = { now: 0, most: 0 };
  // Nothing is answered until both sides have as many as may be under way: one side first would wait for ever.
  const hold: Answering = (_, response) => {
    seen.most = Math.max(seen.most, ++seen.now);
    waiting.push(() => {
      seen.now--;
      response.end('{"data": [1]}');
    });
    if (waiting.length < 8) return;
    const ready = waiting;
    waiting = [];
    for (const go of ready) go();
  };
  const upstream = await serve(t, hold);
  const candidate = await serve(t, hold);
  const { parity, report } = await bench(t, upstream, candidate);
  const { code, stdout } = await parity(
    Array.from({ length: 40 }, () => scores("chess")),
    ["--concurrency", "4"],
  );
  assert.equal(code, 0, stdout);
  assert.equal(seen.most, 8);
  assert.deepEqual([upstream.connections(), candidate.connections()], [4, 4]);
  assert.equal((await report()).timing.upstream.count, 40);
});

test("a connection that the server closed while it was idle is no error", async (t) => {
  // It closes every connection after its answer, without saying so.
  const rude: Answering = (_, response) => {
    response.setHeader("connection", "keep-alive").end('{"data": [1]}', () => response.socket?.destroy());
  };
  const { parity } = await bench(t, await serve(t, rude), await serve(t, rude));
  const { code, stdout } = await parity(
    Array.from({ length: 20 }, () => scores("chess")),
    ["--concurrency", "1"],
  );
  assert.equal(code, 0, stdout);
});
