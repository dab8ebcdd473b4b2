import assert from "node:assert/strict";
import { readdirSync, statSync } from "node:fs";
import test, { type TestContext } from "node:test";
import { until } from "../support/until";
import { type Answering, dataBy, serve } from "./support/servers";
import { bench, scores, sluice } from "./support/sluice";

const OURS = "/api/v1/query_objects/prod/chess/scores";
const THEIRS = "/v2/chess/scores";

/** Two servers that answer one query with the data given. */
async function between(t: TestContext, ours: unknown, theirs: unknown) {
  const upstream = await serve(t, dataBy({ [OURS]: ours }));
  const candidate = await serve(t, dataBy({ [THEIRS]: theirs }));
  return { upstream, candidate, ...(await bench(t, upstream, candidate)) };
}

test("two systems with the same rows are clean, in any order of rows and keys, to the precision", async (t) => {
  const { upstream, candidate, parity, report } = await between(
    t,
    [
      { id: 1, score: 0.1234561 },
      { id: 2, tags: ["a", "b"] },
      { id: 2, tags: ["a", "b"] },
    ],
    [
      { tags: ["a", "b"], id: 2 },
      { score: 0.1234564, id: 1.0 },
      { tags: ["a", "b"], id: 2 },
    ],
  );
  const { code, stdout, stderr } = await parity([scores("chess", { day: "2026-11-21", top: [1, 2], none: null })]);
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /clean: 1 requests with 3 rows are the same on both sides\n$/);
  const { clean, requests, rows, errors, timing, mismatches, options } = await report();
  assert.equal(clean, true);
  assert.deepEqual(requests, {
    total: 1,
    compared: 1,
    equal: 1,
    "missing-in-candidate": 0,
    "extra-in-candidate": 0,
    different: 0,
    error: 0,
  });
  assert.deepEqual(rows, { upstream: 3, candidate: 3, equal: 3, missing: 0, extra: 0 });
  assert.deepEqual([errors, mismatches], [{}, []]);
  assert.equal(options.precision, 6);
  assert.equal(timing.upstream.count, 1);
  assert.ok((timing.candidate.p99 ?? 0) > 0);
  for (const { seen } of [upstream, candidate]) {
    assert.equal(seen[0]?.method, "GET");
    assert.equal(seen[0]?.url.split("?")[1], "day=2026-11-21&top=1&top=2");
  }
});

test("each class of mismatch is told by its own name, with the rows", async (t) => {
  const answers: Record<string, [unknown, unknown]> = {
    missing: [[{ id: 1 }, { id: 2 }], [{ id: 1 }]],
    extra: [[{ id: 1 }], [{ id: 1 }, { id: 3 }]],
    duplicate: [[{ id: 1 }, { id: 1 }], [{ id: 1 }]],
    different: [
      [
        { id: 1, name: "a", score: 1.5 },
        { id: 2, name: "b", score: 2 },
      ],
      [
        { id: 2, name: "b", score: "2" },
        { id: 1, name: "a", score: 1.500002 },
      ],
    ],
    kinds: [[{ id: 1 }], { id: 1 }],
    equal: [{ id: 1 }, { id: 1 }],
  };
  const side = (index: 0 | 1) =>
    Object.fromEntries(
      Object.entries(answers).map(([game, both]) => [
        index === 0 ? OURS.replace("chess", game) : THEIRS.replace("chess", game),
        both[index],
      ]),
    );
  const { parity, report } = await bench(t, await serve(t, dataBy(side(0))), await serve(t, dataBy(side(1))));
  const { code, stdout } = await parity(Object.keys(answers).map((game) => scores(game)));
  assert.equal(code, 1);
  assert.match(
    stdout,
    /line 4 scores of different \{\}: different \(2 missing, 2 extra\)\n {2}~ score: 1.5 upstream, 1.500002 candidate/,
  );
  const { requests, mismatches, verdict } = await report();
  assert.equal(verdict, "not clean: of 6 requests, 5 differ and 0 failed");
  assert.equal(requests.equal, 1);
  assert.deepEqual(
    mismatches.map((each) => [each.line, each.class, each.request?.game]),
    [
      [1, "missing-in-candidate", "missing"],
      [2, "extra-in-candidate", "extra"],
      [3, "missing-in-candidate", "duplicate"],
      [4, "different", "different"],
      [5, "different", "kinds"],
    ],
  );
  assert.deepEqual(mismatches[0]?.diff?.missing, [{ id: 2 }]);
  assert.deepEqual(mismatches[1]?.diff?.extra, [{ id: 3 }]);
  assert.deepEqual(mismatches[3]?.diff?.different, [
    { same: { id: 1, name: "a" }, fields: [{ field: "score", upstream: 1.5, candidate: 1.500002 }], fieldsNotShown: 0 },
    { same: { id: 2, name: "b" }, fields: [{ field: "score", upstream: 2, candidate: "2" }], fieldsNotShown: 0 },
  ]);
  assert.equal(mismatches[4]?.diff?.note, "one side's data is a list, the other's is not");
});

test("--precision and --pointer say what is compared", async (t) => {
  const answer =
    (score: number): Answering =>
    (_, response) =>
      response.end(JSON.stringify({ data: 7, result: { rows: [score] } }));
  const { parity } = await bench(t, await serve(t, answer(1.014)), await serve(t, answer(1.012)));
  const at = (precision: string) => parity([scores("chess")], ["--pointer", "/result/rows", "--precision", precision]);
  assert.equal((await at("2")).code, 0);
  assert.equal((await at("3")).code, 1);
});

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

test("nothing compared is not clean", async (t) => {
  const { parity, report } = await between(t, [], []);
  for (const [lines, verdict] of [
    [[], "nothing compared: there was no request"],
    [["", " "], "nothing compared: there was no request"],
    [[{ game: "chess", query: "gone" }], "nothing compared: all 1 requests failed"],
    [[scores("chess")], "nothing compared: all 1 requests came back without rows from both sides"],
  ] as const) {
    const { code, stdout } = await parity(lines);
    assert.equal(code, 1);
    assert.ok(stdout.endsWith(`${verdict}\n`), stdout);
    assert.equal((await report()).verdict, verdict);
  }
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

test("headers on the command line are refused without being shown", async (t) => {
  const { parity, write } = await between(t, [1], [1]);
  const given = async (...args: string[]) => {
    const { code, stderr } = await parity([scores("chess")], args);
    assert.equal(code, 2);
    assert.ok(!stderr.includes("s3cr3t"), stderr);
    return stderr;
  };
  assert.match(await given("--headers", "Authorization: s3cr3t"), /by the name of a file, or by "env:NAME"/);
  assert.match(await given("--headers", "env:SLUICE_NOT_SET"), /SLUICE_NOT_SET is empty: set it/);
  assert.match(await given("--headers", await write("a", "s3cr3t")), /line 1: has no ":"/);
  assert.match(await given("--headers", await write("b", '{"a": s3cr3t}')), /is not JSON/);
  assert.match(
    await given("--headers", await write("c", "Bad Name: s3cr3t")),
    /Bad Name: "Bad Name" is not a header's name/,
  );
});

test("unusable command lines and files exit with 2, with every problem at once, and leave no report", async (t) => {
  const { parity, folder, write } = await between(t, [1], [1]);
  const refused = async (extra: string[], ...expected: RegExp[]) => {
    const { code, stderr, stdout } = await parity([scores("chess")], extra);
    assert.equal(code, 2, stdout);
    for (const pattern of expected) assert.match(stderr, pattern);
  };
  await refused(
    [
      "--precision",
      "-1",
      "--concurrency",
      "0",
      "--timeout",
      "0",
      "--sample",
      "150%",
      "--pointer",
      "data",
      "--limit",
      "1.5",
    ],
    /--precision: "-1" is not a whole number/,
    /--concurrency: 0 is out of range: use at least 1/,
    /--timeout: is out of range: use 0.001 to 3600 seconds/,
    /--sample: is out of range/,
    /--pointer: "data" is not a JSON pointer: write one such as "\/data\/rows"/,
    /--limit: "1.5" is not a whole number/,
  );
  await refused(["--upstream-path", "/a/{gmae}"], /\{gmae\} is no placeholder of a path: use one of \{env\}, \{game\}/);
  await refused(["--upstream-url", "http://u:p4ss@host"], /--upstream-url: holds a user or password/);
  await refused(["--report", `${folder}/none/parity.json`], /--report: .*none/);
  await refused(["--requests", `${folder}/none.jsonl`], /none.jsonl" does not exist/);
  await refused(["--requests", folder], /is a folder/);
  await refused(
    ["--report", `${folder}/mapping.json`],
    /mapping.json" is an input as well, which the report would replace/,
  );
  await refused(["--report", "/dev/null"], /--report: "\/dev\/null" is not a file/);
  await refused(["--report", folder], /is not a file: give another name/);
  await refused(["--concurency", "3"], /unknown option '--concurency'\n\(Did you mean --concurrency\?\)/);
  await refused(["surplus"], /too many arguments/);
  const mapping = await write(
    "bad.json",
    '{\n  "a": "/x",\n  "b": "no good",\n  "a": "/y",\n  "c": {"path": "/{gam}"}\n}',
  );
  await refused(
    ["--mapping", mapping],
    /bad.json, line 3: "b": path: "no good" is no endpoint/,
    /bad.json, line 4: "a" stands on line 2 already: keep one of them/,
    /bad.json, line 5: "c": path: \{gam\} is no placeholder/,
  );
  await refused(["--mapping", await write("worse.json", '{\n"a": \n}')], /worse.json, line 3: is not JSON: "}"/);
  assert.equal((await sluice([])).code, 2);
  assert.equal((await sluice(["party"])).code, 2);
  assert.match((await sluice(["parity"])).stderr, /--requests: is missing.*--report: is missing/s);
  const help = await sluice(["parity", "--help"]);
  assert.deepEqual([help.code, help.stderr], [0, ""]);
  assert.match(help.stdout, /Exit codes: 0 clean, 1 a mismatch, an error, or nothing compared, 2 usage\./);
  assert.deepEqual(
    readdirSync(folder).filter((name) => /parity\.json|entries|tmp/.test(name)),
    [],
  );
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

test("--limit and --sample take some of the lines and count the others; --stop-after ends the run", async (t) => {
  const { parity, report, upstream } = await between(t, [1], [2]);
  const lines = Array.from({ length: 300 }, () => scores("chess"));
  await parity(lines, ["--limit", "7"]);
  assert.deepEqual([(await report()).requests.total, (await report()).lines.limited], [7, true]);
  await parity(lines, ["--sample", "10%", "--details", "2"]);
  const sampled = await report();
  const { requests, lines: read, mismatches } = sampled;
  assert.ok((requests.total ?? 0) > 10 && (requests.total ?? 0) < 60);
  assert.equal((requests.total ?? 0) + Number(read.notSampled), 300);
  assert.deepEqual(mismatches.map(({ diff }) => diff !== undefined).slice(0, 3), [true, true, false]);
  await parity(lines, ["--sample", "10%"]);
  assert.deepEqual(
    (await report()).mismatches.map(({ line }) => line),
    mismatches.map(({ line }) => line),
  );
  upstream.seen.length = 0;
  const { code } = await parity(lines, ["--stop-after", "3", "--concurrency", "2"]);
  const stopped = await report();
  assert.deepEqual([code, stopped.requests.total], [1, 3]);
  assert.equal(stopped.verdict, "not finished: stopped after 3 mismatches and errors");
  assert.ok(upstream.seen.length < 10);
});

test("a run that is interrupted still writes what it found, and is not clean", async (t) => {
  const upstream = await serve(t, ({ url }, response) => {
    if (!url.includes("stuck")) response.end('{"data": [1]}');
  });
  const { parity, report, folder } = await bench(t, upstream, upstream, {
    scores: OURS.replace("chess", "{game}").replace("prod", "{env}"),
  });
  let pid = 0;
  const run = parity([scores("chess"), scores("stuck")], ["--concurrency", "1"], {
    onStart: (started) => {
      pid = started;
    },
  });
  await until(
    "both requests to be under way",
    () => upstream.seen.filter(({ url }) => url.includes("stuck")).length === 2,
  );
  process.kill(pid, "SIGINT");
  const { code, stdout } = await run;
  assert.equal(code, 1, stdout);
  assert.match(stdout, /not finished: stopped by SIGINT/);
  assert.equal((await report()).requests.equal, 1);
  assert.deepEqual(readdirSync(folder).sort(), ["mapping.json", "parity.json", "requests.jsonl"]);
});

test("lines come from the standard input, and the summary goes out as JSON", async (t) => {
  const { parity } = await between(t, [9007199254740991], [9007199254740991]);
  const { code, stdout, stderr } = await parity([], ["--requests", "-", "--json"], {
    stdin: `\uFEFF${JSON.stringify(scores("chess"))}\r\n${JSON.stringify(scores("chess"))}`,
  });
  assert.equal(code, 0, stderr);
  const summary = JSON.parse(stdout);
  assert.deepEqual([summary.tool, summary.clean, summary.requests.equal], ["sluice parity", true, 2]);
});
