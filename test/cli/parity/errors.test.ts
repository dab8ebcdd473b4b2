import assert from "node:assert/strict";
import test from "node:test";
import { between, OURS } from "../support/parity";
import { type Answering, dataBy, serve } from "../support/servers";
import { bench, scores, sluice } from "../support/sluice";

test("what can't be compared is an error of its own kind and side", async (t) => {
  const broken: Record<string, Answering> = {
    status: (_, response) => response.writeHead(500).end("{}"),
    redirect: (_, response) => response.writeHead(302, { location: "/" }).end(),
    unready: (_, response) => response.writeHead(503).end(),
    loading: (_, response) => response.end('{"status": "not_ready", "data": []}'),
    refusing: (_, response) => response.writeHead(409).end('{"ready": false}'),
    html: (_, response) => response.end("<html>"),
    nodata: (_, response) => response.end('{"rows": []}'),
    large: (_, response) => response.end(JSON.stringify({ data: "x".repeat(2_000_000) })),
    slow: () => undefined,
    stalled: (_, response) => response.write('{"data": ['),
    hangup: (_, response) => response.destroy(),
    packed: (_, response) => response.setHeader("content-encoding", "gzip").end("x"),
    huge: (_, response) => response.end('{"data": [1e999]}'),
    deep: (_, response) => response.end(`{"data": ${"[".repeat(100_000)}${"]".repeat(100_000)}}`),
  };
  const upstream = await serve(t, (_, response) => response.end('{"data": [1]}'));
  const candidate = await serve(t, (request, response) => broken[request.url.split("/")[2] ?? ""]?.(request, response));
  const { parity, report } = await bench(t, upstream, candidate);
  const extra = ["--timeout", "2.5", "--max-body", "1"];
  const { code, stdout } = await parity(
    [...Object.keys(broken).map((game) => scores(game)), { game: "chess", query: "gone" }, scores("after")],
    extra,
  );
  assert.equal(code, 1);
  assert.match(stdout, /\.\.\. and 11 more in the report/);
  const { mismatches, errors, requests } = await report();
  assert.equal(requests.error, 16);
  const kinds = mismatches.map((each) => [
    each.request?.game,
    each.errors?.map(({ side, kind }) => `${side} ${kind}`).join(),
  ]);
  assert.deepEqual(Object.fromEntries(kinds), {
    status: "candidate status",
    redirect: "candidate status",
    unready: "candidate not-ready",
    loading: "candidate not-ready",
    refusing: "candidate not-ready",
    html: "candidate not-json",
    nodata: "candidate no-data",
    large: "candidate too-large",
    slow: "candidate timeout",
    stalled: "candidate timeout",
    hangup: "candidate unreachable",
    packed: "candidate not-json",
    huge: "undefined not-json",
    deep: "undefined not-json",
    chess: "undefined unmapped",
    after: "candidate timeout",
  });
  assert.deepEqual(errors, {
    status: 2,
    "not-ready": 3,
    "not-json": 4,
    "no-data": 1,
    "too-large": 1,
    timeout: 3,
    unreachable: 1,
    unmapped: 1,
  });
  const messages = Object.fromEntries(mismatches.map((each) => [each.request?.game, each.errors?.[0]?.message]));
  assert.equal(messages.slow, "no complete answer within 2500 ms");
  assert.equal(messages.redirect, "answered 302 (redirects are not followed)");
  assert.equal(messages.chess, 'the mapping has no query "gone": add it');
  assert.equal(
    messages.large,
    "the answer is larger than 1048576 bytes: raise that limit (--max-body, or the maxBody of a gate)",
  );
});

test("broken lines are errors with their number and reason, and the others are still compared", async (t) => {
  const { parity, report } = await between(t, [1], [1]);
  const { code } = await parity([
    scores("chess"),
    '{"game": "chess", "query": ',
    "",
    '{"game": "chess"}',
    '{"game": "chess", "query": "scores", "parms": {}}',
    '{"game": "chess", "query": "scores", "params": {"a": {"b": 1}}}',
    '{"path": "nowhere"}',
    '{"path": "/x", "method": "DELETE"}',
    "[1]",
    `{"game": "${"x".repeat(1024 * 1024)}"}`,
    scores("chess"),
  ]);
  assert.equal(code, 1);
  const { requests, lines, mismatches, errors } = await report();
  assert.deepEqual([requests.total, requests.equal, requests.error], [10, 2, 8]);
  assert.deepEqual(lines, { read: 11, blank: 1, notSampled: 0, limited: false });
  assert.deepEqual(errors, { "broken-line": 8 });
  assert.deepEqual(
    mismatches.map(({ line, errors: [first] = [] }) => [line, first?.message]),
    [
      [2, "is not JSON: the end at character 28, where a value should be"],
      [4, 'has neither "query" nor "path": write {"game", "query", "params"} or {"method", "path", "headers", "body"}'],
      [5, '"parms" does not exist here: remove it, or check its spelling'],
      [
        6,
        "params.a: an object can't stand in a query string: give a text, a number, true, false, null or a list of them",
      ],
      [
        7,
        'path: "nowhere" is not the path of a request: start with "/", and write spaces, "#" and letters beyond ASCII as %XX',
      ],
      [8, 'method: "DELETE" is not known here: use one of "GET", "POST"'],
      [9, 'a list is not a request: write {"game", "query", "params"} or {"method", "path", "headers", "body"}'],
      [10, "is longer than 1048576 bytes: shorten it"],
    ],
  );
});

test("a side that can't be reached is an error for every request", async (t) => {
  const upstream = await serve(t, dataBy({ [OURS]: [1] }));
  const { parity, report } = await bench(t, upstream, { url: "http://127.0.0.1:1" });
  assert.equal((await parity([scores("chess"), scores("chess")])).code, 1);
  const { errors, timing, mismatches } = await report();
  assert.deepEqual(errors, { unreachable: 2 });
  assert.match(mismatches[0]?.errors?.[0]?.message ?? "", /ECONNREFUSED/);
  assert.deepEqual([timing.upstream.count, timing.candidate], [2, { count: 0 }]);
});

test("a request without an environment for its path says what to give", async (t) => {
  const { parity, report } = await between(t, [1], [1]);
  await parity([{ ...scores("chess"), env: "prod" }]);
  assert.equal((await report()).clean, true);
  const { folder } = await bench(t, { url: "" }, { url: "" });
  const files = ["--requests", "-", "--mapping", `${folder}/mapping.json`, "--report", `${folder}/parity.json`];
  const urls = ["--upstream-url", "http://127.0.0.1:1", "--candidate-url", "http://127.0.0.1:1"];
  const { code, stdout } = await sluice(["parity", ...files, ...urls], { stdin: JSON.stringify(scores("chess")) });
  assert.equal(code, 1);
  assert.match(
    stdout,
    /broken-line: "\/api\/v1\/query_objects\/\{env\}\/\{game\}\/\{query\}" needs an environment: give --env/,
  );
});
