import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import type { GateInput } from "../../../src/model/gate/gate";
import { bucketOf, type Sparse } from "../../../src/model/gate/histogram";
import { GateBreach, KEPT_MEASUREMENTS, SYSTEM_CLOCK, watchGates } from "../../../src/provider/gates";
import { until } from "../../support/until";
import { answer, gateContext, gates } from "./support";

const sli = { kind: "sli" as const, thresholds: ["p95 < 500 ms", "5xx < 0.5 %"] };

async function breach(promise: Promise<unknown>, says: RegExp): Promise<GateBreach> {
  const error = await promise.then(
    () => assert.fail("it passed"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof GateBreach, String(error));
  assert.match(error.message, says);
  return error;
}

async function serve(t: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test("a clean window passes at its end, having been looked at through all of it", async () => {
  const context = gateContext((query) => answer(query));
  const startedAt = context.clock.now();
  const [record] = await watchGates(gates({ ...sli, interval: "10 seconds" }), context);
  assert.equal(context.clock.now() - startedAt, 60_000);
  assert.equal(record?.outcome, "pass");
  assert.deepEqual(
    record?.measurements.map(({ at }) => (at - startedAt) / 1000),
    [0, 10, 20, 30, 40, 50, 60],
  );
  assert.deepEqual(record?.measurements.at(-1)?.values, { requests: 1000, p95: 100, "5xx": 0 });
  assert.equal(context.messages.at(-1), "stage 10%: watching 1 min/1 min  p95 100 ms < 500 ms  5xx 0 % < 0.5 %");
  assert.ok(
    context.queries.every((query) => query.edge === "main" && query.backend === "new" && query.from <= startedAt),
  );
});

test("a watch of many gates says nothing of a leak", async (t) => {
  const warnings: Error[] = [];
  const warn = (warning: Error) => warnings.push(warning);
  process.on("warning", warn);
  t.after(() => process.off("warning", warn));
  const many = Array.from({ length: 15 }, (_, index) => ({
    ...sli,
    name: `gate ${index}`,
    interval: "1 second" as const,
  }));
  await watchGates(gates(...many), { ...gateContext((query) => answer(query)), windowMs: 50, clock: SYSTEM_CLOCK });
  await new Promise(setImmediate);
  assert.deepEqual(warnings, []);
});

test("the first red probe ends the watch, with what was measured", async () => {
  const context = gateContext((query) => answer(query, query.to - query.from > 30_000 ? { status5xx: 20 } : {}));
  const error = await breach(
    watchGates(gates({ ...sli, interval: "10 seconds" }), context),
    /gate sli: failed: 5xx 2 %, not < 0\.5 % \(1000 requests\)/,
  );
  assert.equal(error.records[0]?.measurements.length, 5);
  await breach(
    watchGates(
      gates(sli),
      gateContext((query) => answer(query, { ms: 600 })),
    ),
    /p95 60\d ms, not < 500 ms/,
  );
});

test("no traffic, a meter that was away, and lost lines are no pass", async () => {
  await breach(
    watchGates(
      gates(sli),
      gateContext((query) => answer(query, { requests: 0 })),
    ),
    /insufficient at the end of the window of 1 min: 0 of 200 requests/,
  );
  await breach(
    watchGates(
      gates(sli),
      gateContext((query) => answer(query, { requests: 199 })),
    ),
    /199 of 200 requests/,
  );
  // Time without a meter counts from the moment on at which it could have been covered.
  await breach(
    watchGates(
      gates({ ...sli, window: "5 minutes" }),
      gateContext((query) => answer(query, { coveredMs: 1000 })),
    ),
    /unavailable 3 times in a row: the meter ran for 1 s of/,
  );
  await breach(
    watchGates(
      gates(sli),
      gateContext((query) => answer(query, { lost: 100 })),
    ),
    /the meter missed 100 of 1100 requests/,
  );
  const down = gateContext(() => {
    throw new Error("the agent is gone");
  });
  await breach(watchGates(gates(sli), down), /unavailable 3 times in a row: the agent is gone/);
});

test("a candidate is compared with the stable side over the same time", async () => {
  const both = (candidate: object, stable: object) =>
    gateContext((query) => answer(query, query.backend === "new" ? candidate : stable));
  const relative = gates({ kind: "sli", notWorseThanStable: { metrics: ["errors", "p95"] } });
  await watchGates(relative, both({ status5xx: 12 }, { status5xx: 10 }));
  await breach(
    watchGates(relative, both({ status5xx: 60 }, { status5xx: 10 })),
    /worse than the stable side: errors 6 % beside 1 %/,
  );
  await breach(watchGates(relative, both({ ms: 300 }, { ms: 100 })), /p95 30\d ms beside 100 ms/);
  await breach(watchGates(relative, both({}, { requests: 20 })), /insufficient .*too few requests to compare p95/);
  await breach(watchGates(relative, { ...both({}, {}), stable: undefined }), /there is no stable side/);
});

test("a share is compared only where a candidate that is all bad would be found", async () => {
  const both = (candidate: object, stable: object) =>
    gateContext((query) => answer(query, query.backend === "new" ? candidate : stable));
  const relative = gates({ kind: "sli", notWorseThanStable: { metrics: ["errors"] }, minRequests: 1 });
  const few = both({ requests: 1, status5xx: 1 }, { requests: 100 });
  await breach(watchGates(relative, few), /insufficient .*too few requests to compare errors/);
  await breach(watchGates(relative, both({ requests: 50 }, { requests: 0 })), /insufficient .*too few requests/);
  await watchGates(relative, both({ requests: 50 }, { requests: 100 }));
});

test("clients that gave up after a long wait are slow requests; those who left early are none", async () => {
  const slow: Sparse = [[bucketOf(10_000), 60]];
  const gate = gates({ ...sli, interval: "10 seconds" });
  await breach(
    watchGates(
      gate,
      gateContext((query) => answer(query, { waited: slow })),
    ),
    /p95 10 s, not < 500 ms/,
  );
  // With fewer of them, 95 % of all were fast nevertheless.
  const few: Sparse = [[bucketOf(10_000), 40]];
  await watchGates(
    gate,
    gateContext((query) => answer(query, { waited: few })),
  );
  // Those who left after 20 ms could not know that it takes 600.
  const early: Sparse = [[bucketOf(20), 900]];
  const left = gateContext((query) => answer(query, { ms: 600, waited: early }));
  await breach(watchGates(gate, left), /p95 60\d ms, not < 500 ms/);
  // They count on both sides of a comparison.
  const both = (candidate: object, stable: object) =>
    gateContext((query) => answer(query, query.backend === "new" ? candidate : stable));
  const relative = gates({ kind: "sli", notWorseThanStable: { metrics: ["p95"] } });
  const waited: Sparse = [[bucketOf(10_000), 200]];
  await breach(watchGates(relative, both({ waited }, {})), /worse than the stable side: p95 10 s beside 100 ms/);
  await watchGates(relative, both({ waited }, { waited }));
});

test("a meter whose clock differs tells of another time: that is no verdict", async () => {
  for (const [skew, says] of [
    [-60_000, /unavailable 3 times in a row: the clock of the agent of edge main is 1 min behind this host's/],
    [60_000, /the clock of the agent of edge main is 1 min ahead of this host's/],
  ] as const) {
    const context = gateContext((query) => answer(query, { now: query.to + skew }));
    await breach(watchGates(gates(sli), context), says);
  }
  await watchGates(
    gates(sli),
    gateContext((query) => answer(query, { now: query.to + 1000 })),
  );
});

test("a watch keeps the newest measurements, and hands on each one, by names that tell gates apart", async () => {
  const seen: [gate: string, at: number][] = [];
  const context = gateContext((query) => answer(query), { windowMs: 3_600_000 });
  const startedAt = context.clock.now();
  const records = await watchGates(
    gates({ ...sli, interval: "10 seconds" }, { ...sli, window: "5 seconds", interval: "5 seconds" }),
    {
      ...context,
      record: (gate, { at }) => seen.push([gate, at]),
    },
  );
  assert.deepEqual(
    records.map(({ gate, probes, measurements }) => [gate, probes, measurements.length]),
    [
      ["sli", 361, KEPT_MEASUREMENTS],
      ["sli 2", 2, 2],
    ],
  );
  assert.equal(records[0]?.measurements.at(-1)?.at, startedAt + 3_600_000);
  assert.equal(seen.filter(([gate]) => gate === "sli").length, 361);
  assert.equal(seen.filter(([gate]) => gate === "sli 2").length, 2);
});

test("a gate with a shorter window does not shorten the stage's", async () => {
  const context = gateContext((query) => answer(query));
  await watchGates(gates({ kind: "command", command: ["true"], window: "0 seconds" }), context);
  assert.equal(context.clock.now(), 1_800_000_060_000);
});

test("several gates are watched at once, and the first breach ends all", async () => {
  const context = { ...gateContext((query) => answer(query)), clock: SYSTEM_CLOCK };
  const bad = gates(sli, {
    kind: "command",
    name: "smoke",
    command: ["/bin/sh", "-c", "echo broken; exit 3"],
    interval: "1 second",
  });
  const error = await breach(watchGates(bad, context), /gate smoke: failed: sh exited with 3: broken/);
  assert.deepEqual(
    error.records.map(({ outcome }) => outcome),
    ["ended", "breach"],
  );
});

test("without gates the window is waited for, and a cancel ends any watch with its own reason", async () => {
  const context = gateContext((query) => answer(query));
  assert.deepEqual(await watchGates([], context), []);
  assert.equal(context.clock.now(), 1_800_000_060_000);
  const cancel = new AbortController();
  const watching = watchGates(gates({ ...sli, interval: "1 hour" }), {
    ...gateContext((query) => answer(query)),
    clock: SYSTEM_CLOCK,
    signal: cancel.signal,
  });
  cancel.abort(new Error("the update was cancelled"));
  await assert.rejects(watching, /the update was cancelled/);
});

test("a soak is judged at once by the past, and says how long is missing", async () => {
  const soak = gates({ kind: "soak", duration: "24 hours", thresholds: ["5xx < 1 %"] });
  const day = 86_400_000;
  const context = gateContext((query) => answer(query), { windowMs: 0 });
  const held = (ms: number, like = context) => ({ ...like, windowMs: 0, unchangedSince: context.clock.now() - ms });
  const startedAt = context.clock.now();
  await watchGates(soak, held(day));
  assert.equal(context.clock.now(), startedAt);
  await breach(watchGates(soak, held(day - 5_400_000)), /gate soak: insufficient: held for 22.5 h: 1.5 h are missing/);
  await breach(watchGates(soak, context), /not held yet: 24 hours are missing/);
  await breach(
    watchGates(
      soak,
      held(
        day,
        gateContext((query) => answer(query, { coveredMs: 3_600_000 })),
      ),
    ),
    /the meter ran for 1 h of 24 h/,
  );
  // Clean over the day as a whole, but not in one hour of it.
  const hour = gateContext((query) =>
    answer(
      query,
      query.to - query.from <= 3_600_000 && query.from === context.clock.now() - 10 * 3_600_000
        ? { status5xx: 500 }
        : {},
    ),
  );
  await breach(watchGates(soak, held(day, hour)), /in the hour from .*5xx 50 %, not < 1 %/);
});

test("an http gate reads status and text; no answer is no verdict", async (t) => {
  const url = await serve(t, (request, response) => {
    if (request.url === "/hang") return;
    response.statusCode = request.url === "/bad" ? 500 : 200;
    response.end("ready: true");
  });
  const once = { ...gateContext((query) => answer(query)), windowMs: 0 };
  const http = (path: string, more: object = {}) =>
    watchGates(
      gates({ kind: "http", url: `${url}${path}`, interval: "100 milliseconds", timeout: "300 milliseconds", ...more }),
      once,
    );
  await http("/", { contains: "ready: true" });
  await http("/bad", { statuses: [500] });
  await breach(http("/bad"), /failed: GET http:.* answered 500/);
  await breach(http("/", { contains: "ready: false" }), /without "ready: false"/);
  await breach(http("/hang"), /unavailable 3 times in a row: no answer within 300 ms/);
  await breach(
    watchGates(gates({ kind: "http", url: "http://127.0.0.1:1/" }), once),
    /unavailable .*http:\/\/127\.0\.0\.1:1\/ did not answer: /,
  );
});

test("a command that hangs, is missing or is killed is no pass, and leaves nothing behind", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "slg-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const file = join(directory, "pid");
  const once = { ...gateContext((query) => answer(query)), windowMs: 0 };
  const command = (line: string): GateInput => ({
    kind: "command",
    command: ["/bin/sh", "-c", line],
    timeout: "500 milliseconds",
    unavailableLimit: 1,
  });
  await watchGates(gates(command("exit 0")), once);
  await breach(
    watchGates(gates(command(`sleep 60 & echo $! > ${file}; wait`)), once),
    /unavailable: no answer within 500 ms/,
  );
  const pid = (await readFile(file, "utf8")).trim();
  await until(
    "its child to be gone",
    () => !existsSync(`/proc/${pid}`) || /\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8")),
  );
  await breach(watchGates(gates(command("kill -9 $$")), once), /sh was ended by SIGKILL/);
  await breach(
    watchGates(gates({ kind: "command", command: ["/no/such"], unavailableLimit: 1 }), once),
    /such can't be run: .*ENOENT/,
  );
});

test("a health gate asks every edge for the candidate's servers", async () => {
  const server = (operational: string) => ({ operational, state: "ready", weight: 1 });
  const context = (servers: Record<string, unknown>) => {
    const agent = {
      ...gateContext((query) => answer(query)).edges[0]?.agent,
      edge: async () => ({ observed: { backends: { new: servers } } }),
    };
    return { ...gateContext((query) => answer(query)), windowMs: 0, edges: [{ name: "main", agent: agent as never }] };
  };
  await watchGates(gates({ kind: "health" }), context({ a: server("up"), b: server("up") }));
  await breach(
    watchGates(gates({ kind: "health" }), context({ a: server("up"), b: server("down") })),
    /failed: main\/new\/b is down/,
  );
  await breach(watchGates(gates({ kind: "health" }), context({})), /insufficient: backend new has no server/);
});
