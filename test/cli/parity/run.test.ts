import assert from "node:assert/strict";
import test from "node:test";
import { parseMapping } from "../../../src/model/parity/mapping";
import { MAX_LINE, readLines } from "../../../src/parity/compare/lines";
import type { ParityResult } from "../../../src/parity/compare/result";
import { Selection } from "../../../src/parity/compare/select";
import { Tally } from "../../../src/parity/compare/tally";
import { compareLines, type Exchange, ExchangeError, type RunOptions } from "../../../src/parity/replay/run";

const bytes = (text: string) => new TextEncoder().encode(text);

function options(exchange: Exchange, changes: Partial<RunOptions> = {}): RunOptions {
  const parsed = parseMapping('{"q": "/q"}');
  assert.ok("mapping" in parsed);
  return {
    exchange,
    mapping: parsed.mapping,
    upstreamPath: "/u/{game}/{query}",
    candidatePath: "/u/{game}/{query}",
    precision: 6,
    pointer: "/data",
    concurrency: 4,
    timeoutMs: 10_000,
    headers: { upstream: {}, candidate: {} },
    ...changes,
  };
}

function* queries(count: number) {
  for (let line = 1; line <= count; line++)
    yield { line, text: `{"game": "g${line}", "query": "q", "params": {"n": ${line}}}` };
}

async function all(results: AsyncIterable<ParityResult>): Promise<ParityResult[]> {
  const list: ParityResult[] = [];
  for await (const each of results) list.push(each);
  return list;
}

async function lines(...chunks: Uint8Array[]) {
  const list: unknown[] = [];
  for await (const line of readLines(chunks)) list.push("text" in line ? line.text : line);
  return list;
}

test("lines are the same however the stream is cut", async () => {
  const whole = bytes('\uFEFF{"a":1}\r\n\nä€😀\nlast');
  const expected = ['{"a":1}', "", "ä€😀", "last"];
  assert.deepEqual(await lines(whole), expected);
  for (let at = 0; at <= whole.length; at++)
    assert.deepEqual(await lines(whole.subarray(0, at), whole.subarray(at)), expected);
  assert.deepEqual(await lines(...[...whole].map((byte) => Uint8Array.of(byte))), expected);
  assert.deepEqual(await lines(), []);
  assert.deepEqual(await lines(bytes("a\n")), ["a"]);
  assert.deepEqual(await lines(bytes("\n\n")), ["", ""]);
});

test("a line that is too long or not UTF-8 is a problem of its own", async () => {
  const long = "x".repeat(MAX_LINE + 1);
  const problem = { line: 2, problem: "is longer than 1048576 bytes: shorten it" };
  assert.deepEqual(await lines(bytes(`a\n${long.slice(0, 1000)}`), bytes(long.slice(1000)), bytes("\nb")), [
    "a",
    problem,
    "b",
  ]);
  assert.deepEqual(await lines(Uint8Array.of(0xff, 0x0a, 0x62)), [{ line: 1, problem: "is not UTF-8" }, "b"]);
});

test("results come in the order of the lines, whichever answer comes first", async () => {
  const waiting: (() => void)[] = [];
  const exchange: Exchange = () =>
    new Promise((resolve) => {
      waiting.push(() => resolve({ status: 200, body: bytes('{"data": [1]}') }));
      // The newest first, once all that may be under way are.
      if (waiting.length === 8) for (const answer of waiting.splice(0).reverse()) answer();
    });
  const results = await all(compareLines(queries(40), options(exchange)));
  assert.deepEqual(
    results.map(({ line }) => line),
    Array.from({ length: 40 }, (_, index) => index + 1),
  );
});

test("the deadline holds even where the exchange does not listen to its signal", async () => {
  const signals: AbortSignal[] = [];
  const exchange: Exchange = (side, _, signal) => {
    signals.push(signal);
    return side === "upstream"
      ? Promise.resolve({ status: 200, body: bytes('{"data": []}') })
      : new Promise(() => undefined);
  };
  const [result] = await all(compareLines(queries(1), options(exchange, { timeoutMs: 20 })));
  assert.equal(result?.outcome, "error");
  assert.deepEqual("errors" in result && result.errors, [
    { side: "candidate", kind: "timeout", message: "no complete answer within 20 ms" },
  ]);
  assert.ok(signals.every(({ aborted }) => aborted));
});

test("whatever an exchange fails with is an error of its side, by kind", async () => {
  const exchange: Exchange = async (side) => {
    if (side === "upstream") throw new ExchangeError("too-large", "much too large");
    throw new TypeError("fetch failed");
  };
  const [result] = await all(compareLines(queries(1), options(exchange)));
  assert.deepEqual(result && "errors" in result && result.errors, [
    { side: "upstream", kind: "too-large", message: "much too large" },
    { side: "candidate", kind: "unreachable", message: "fetch failed" },
  ]);
});

test("whoever stops early gives up what is under way, and takes no further line", async () => {
  const signals: AbortSignal[] = [];
  let taken = 0;
  let returned = false;
  function* source() {
    try {
      for (const line of queries(1000)) {
        taken++;
        yield line;
      }
    } finally {
      returned = true;
    }
  }
  const exchange: Exchange = (_, { path }, signal) => {
    signals.push(signal);
    return path.endsWith("n=1")
      ? Promise.resolve({ status: 200, body: bytes('{"data": []}') })
      : new Promise(() => undefined);
  };
  for await (const { line } of compareLines(source(), options(exchange))) {
    assert.equal(line, 1);
    break;
  }
  assert.ok(taken <= 6, String(taken));
  assert.ok(returned);
  assert.ok(signals.slice(2).every(({ aborted }) => aborted));

  const stop = new AbortController();
  const rest = all(compareLines(source(), options(exchange, { signal: stop.signal })));
  stop.abort();
  assert.deepEqual(await rest, []);
});

test("what was complete before a stop is still given", async () => {
  const stop = new AbortController();
  let requests = 0;
  const exchange: Exchange = (_, { path }) => {
    // All but the first of the four under way are complete when the next ones are asked.
    if (++requests > 8) stop.abort();
    return path.endsWith("n=1")
      ? new Promise(() => undefined)
      : Promise.resolve({ status: 200, body: bytes('{"data": []}') });
  };
  const results = await all(compareLines(queries(1000), options(exchange, { signal: stop.signal })));
  assert.deepEqual(
    results.slice(0, 3).map(({ line, outcome }) => `${line} ${outcome}`),
    ["2 equal", "3 equal", "4 equal"],
  );
});

test("a selection counts what it leaves out", async () => {
  const text = Array.from({ length: 10_000 }, (_, index) => (index % 10 === 0 ? "\n" : `${index}\n`)).join("");
  const run = async (given: { limit?: number; sample?: number }) => {
    const selection = new Selection(given);
    const numbers: number[] = [];
    for await (const { line } of selection.of(readLines([bytes(text)]))) numbers.push(line);
    return { selection, numbers };
  };
  const { selection, numbers } = await run({ sample: 0.2 });
  assert.ok(numbers.length > 1500 && numbers.length < 2100, String(numbers.length));
  assert.deepEqual([selection.lines, selection.blank, selection.notSampled], [10_000, 1000, 9000 - numbers.length]);
  assert.deepEqual((await run({ sample: 0.2, limit: 5 })).numbers, numbers.slice(0, 5));
});

test("a hundred thousand requests take no more memory than two thousand", async () => {
  const rows = Array.from({ length: 2 }, (_, id) => ({ id, score: id / 3 }));
  const body = bytes(JSON.stringify({ data: rows }));
  const shuffled = bytes(JSON.stringify({ data: rows.toReversed() }));
  const different = bytes(JSON.stringify({ data: rows.map((row) => ({ ...row, score: 1 })) }));
  const exchange: Exchange = async (side, { path }) => {
    if (side === "upstream") return { status: 200, body };
    return { status: 200, body: path.endsWith("00") ? different : shuffled };
  };
  async function* file(count: number) {
    for (const { text } of queries(count)) yield bytes(`${text}\n`);
  }
  const run = async (count: number) => {
    const tally = new Tally();
    let highest = 0;
    for await (const result of compareLines(readLines(file(count)), options(exchange, { concurrency: 16 }))) {
      tally.add(result);
      if (tally.total % 1000 === 0) highest = Math.max(highest, process.memoryUsage().rss);
    }
    const { requests, clean } = tally.summary();
    assert.deepEqual([requests.equal, requests.different, clean], [count * 0.99, count * 0.01, false]);
    return highest;
  };
  const small = await run(2000);
  const large = await run(100_000);
  // Allow for garbage that is not collected yet, but not for 100,000 results of 2 KB each.
  assert.ok(large - small < 150 * 1024 * 1024, `${small} -> ${large} bytes`);
});
