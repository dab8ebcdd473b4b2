import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { type GateInput, gate, type ParityGate } from "../../../src/model/gate/gate";
import { describeGate } from "../../../src/model/gate/gate-text";
import { declaredRoute } from "../../../src/model/route/route";
import { GateBreach, parityProblems, watchGates } from "../../../src/provider/gates";
import { routeStep, send, side, startMirrored, until } from "../../agent/mirror/support";
import { dataBy, serve } from "../../cli/support/servers";
import { answer, gateContext, gates } from "./support";

const ROWS = { "/a": [{ id: 1 }, { id: 2 }], "/b": [{ x: 0.1234567 }] };

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "slg-"));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

async function sides(t: TestContext, candidate: Record<string, unknown>) {
  const upstream = await serve(t, dataBy(ROWS));
  const other = await serve(t, dataBy(candidate));
  return { upstreamUrl: upstream.url, candidateUrl: other.url };
}

async function requestsFile(t: TestContext, ...lines: unknown[]): Promise<string> {
  const file = join(await folder(t), "requests.jsonl");
  await writeFile(file, lines.map((line) => `${typeof line === "string" ? line : JSON.stringify(line)}\n`).join(""));
  return file;
}

const GET = (path: string) => ({ method: "GET", path });

type Given = Omit<Extract<GateInput, { kind: "parity" }>, "kind">;

/** Result of a watched gate: the text of its only probe, or why it is a breach. */
async function judged(given: Given): Promise<string> {
  const context = { ...gateContext((query) => answer(query)), windowMs: 0 };
  try {
    const [record] = await watchGates(gates({ kind: "parity", interval: "1 second", ...given }), context);
    assert.equal(record?.probes, 1);
    return record.measurements[0]?.text ?? "";
  } catch (error) {
    assert.ok(error instanceof GateBreach);
    return error.reason;
  }
}

test("the same answers pass, whatever the order of their rows", async (t) => {
  const requests = await requestsFile(t, GET("/a"), GET("/b"));
  const candidate = { "/a": [{ id: 2 }, { id: 1 }], "/b": [{ x: 0.1234569 }] };
  assert.equal(await judged({ requests, ...(await sides(t, candidate)) }), "2 of 2 requests have the same answer");
});

test("a difference, an error or a broken line fails, with the first of them and a report", async (t) => {
  const requests = await requestsFile(t, GET("/a"), GET("/b"), "{", GET("/c"));
  const report = join(await folder(t), "report.json");
  const given = { requests, report, ...(await sides(t, { "/a": [{ id: 1 }], "/b": ROWS["/b"] })) };
  assert.equal(
    await judged(given),
    `failed: of 4 requests, 1 differ and 2 failed (see ${report}); first: line 1 GET /a: missing-in-candidate`,
  );
  const written = JSON.parse(await readFile(report, "utf8"));
  assert.deepEqual(
    written.mismatches.map((each: { line: number; class: string }) => [each.line, each.class]),
    [
      [1, "missing-in-candidate"],
      [3, "error"],
      [4, "error"],
    ],
  );
  assert.equal(written.options.requests, requests);
  assert.equal(await judged({ ...given, maxProblems: 3 }), "1 of 4 requests have the same answer");
});

test("nothing compared, too little compared and no rows are no pass", async (t) => {
  const both = await sides(t, { ...ROWS, "/none": [] });
  const none = await requestsFile(t);
  assert.equal(await judged({ requests: none, ...both }), "insufficient: 0 requests compared, of at least 1");
  const one = await requestsFile(t, GET("/a"));
  assert.equal(
    await judged({ requests: one, minCompared: 100, ...both }),
    "insufficient: 1 requests compared, of at least 100",
  );
  const empty = await serve(t, dataBy({ "/none": [] }));
  const nothing = await requestsFile(t, GET("/none"));
  assert.equal(
    await judged({ requests: nothing, ...both, upstreamUrl: empty.url }),
    "insufficient: no rows in the answers to 1 requests from either side",
  );
});

test("a candidate that does not answer at all is unavailable, and a breach once it stays so", async (t) => {
  const { upstreamUrl } = await sides(t, {});
  const requests = await requestsFile(t, GET("/a"), GET("/b"));
  const dead = await serve(t, () => undefined);
  const given = { requests, upstreamUrl, candidateUrl: dead.url, requestTimeout: "200 milliseconds" } as const;
  assert.match(
    await judged({ ...given, unavailableLimit: 2 }),
    /^unavailable 2 times in a row: no answer to any of 2 requests; first: line 1 GET \/a: error: candidate: no complete answer within 200 ms$/,
  );
});

test("without a file, the sample that the route's edges keep is compared", { timeout: 300_000 }, async (t) => {
  const old = await side(t, "old", (_, to) => to.end(JSON.stringify({ data: [{ from: "both" }] })));
  const next = await side(t, "next", (_, to) => to.end(JSON.stringify({ data: [{ from: "both" }] })));
  const agent = await startMirrored(t, { web: old });
  const { change, port } = agent;
  await change("route/api", routeStep({ sample: { requests: 10, share: "100%" } }));
  await until("a request of which a copy is kept", async () => {
    await send(port, "/games?page=1&token=secret");
    for await (const request of agent.client.sample("api")) return request;
    return undefined;
  });
  const before = next.got.length;
  const url = (server: { port: number }) => `http://127.0.0.1:${server.port}`;
  const [parity] = gates({ kind: "parity", upstreamUrl: url(old), candidateUrl: url(next) });
  const context = {
    ...gateContext((query) => answer(query)),
    windowMs: 0,
    candidate: { route: "api", backend: "next" },
    // Two edges of one agent, whose sample is one.
    edges: [
      { name: "main", agent: agent.client },
      { name: "other", agent: agent.client },
    ],
  };
  const [record] = await watchGates([parity as ParityGate], context);
  assert.match(record?.measurements[0]?.text ?? "", /^(\d+) of \1 requests have the same answer$/);
  const replayed = next.got.slice(before);
  assert.ok(replayed.length > 0);
  for (const { url: path } of replayed) assert.equal(path, "/games?page=1&token=redacted");
});

test("files and environment are looked at before anything is compared", async (t) => {
  const path = await folder(t);
  const mapping = join(path, "mapping.json");
  await writeFile(mapping, '{\n  "a": "/b",\n  "c": 1\n}\n');
  const urls = { upstreamUrl: "http://127.0.0.1:1", candidateUrl: "http://127.0.0.1:2" };
  const broken = gate.parse({
    kind: "parity",
    requests: join(path, "none.jsonl"),
    mapping,
    headers: "env:NO_SUCH_VARIABLE",
    ...urls,
  });
  assert.deepEqual(await parityProblems(broken as ParityGate, {}), [
    {
      property: "requests",
      message: `${join(path, "none.jsonl")} does not exist: give a file that can be read`,
    },
    { property: "mapping", message: `${mapping}, line 3: "c": 1 is not an object: give one` },
    { property: "headers", message: "the environment variable NO_SUCH_VARIABLE is empty: set it" },
  ]);
  const fine = gate.parse({ kind: "parity", requests: mapping, headers: "env:TOKEN", ...urls });
  assert.deepEqual(await parityProblems(fine as ParityGate, { TOKEN: "x: y" }), []);
});

test("a gate's declaration is refused with its problems, and described in one line", () => {
  const given = { kind: "parity", requests: "r.jsonl", upstreamUrl: "http://a:1/x", candidateUrl: "http://b:2" };
  const problems = (more: object) =>
    gate.safeParse({ ...given, ...more }).error?.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
  assert.deepEqual(
    problems({ candidateUrl: "http://me:pw@b", headers: "Authorization: x", pointer: "data" })?.length,
    3,
  );
  assert.deepEqual(problems({ upstreamUrl: "ftp://a" }), [
    'upstreamUrl: "ftp://a" is not a URL of HTTP: write one such as http://127.0.0.1:8080',
  ]);
  assert.equal(
    describeGate(gate.parse(given)),
    "parity: r.jsonl has the same answers from http://b:2/ as from http://a:1/x",
  );
});

test("a route that keeps no sample has nothing to compare without a file", () => {
  const parity = { kind: "parity", upstreamUrl: "http://a", candidateUrl: "http://b" };
  const route = { edges: ["main"], stable: "old", candidate: "new", stages: [{ split: "1%", gates: [parity] }] };
  const issues = (more: object) =>
    declaredRoute
      .safeParse({ ...route, ...more })
      .error?.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
  assert.deepEqual(issues({}), [
    "stages.0.gates.0.requests: is not given, and the route keeps no sample: name a file of requests, or declare `sample` on the route",
  ]);
  assert.equal(issues({ sample: {} }), undefined);
});
