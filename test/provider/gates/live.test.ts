import assert from "node:assert/strict";
import test, { type TestContext } from "node:test";
import { type GateContext, watchGates } from "../../../src/provider/gates";
import { type Load, startLoad } from "../../load/load";
import { startTestAgent } from "../../support/agent";
import { freePorts } from "../../support/ports";
import { startServer } from "../../support/server";
import { change } from "../../support/transaction";
import { until } from "../../support/until";
import { gates } from "./support";

/** An app that answers every request after some time, and some of them with 500. */
async function app(t: TestContext, { ms, errorEvery }: { ms: number; errorEvery: number }): Promise<number> {
  let count = 0;
  const { port } = await startServer(t, (_, response) => {
    count++;
    response.statusCode = count % errorEvery === 0 ? 500 : 200;
    setTimeout(() => response.end("hello"), ms);
  });
  return port;
}

test("gates judge what real HAProxy served: a clean side passes, errors and slowness are breaches", async (t) => {
  const loads: Load[] = [];
  // Before what they are put on ends.
  t.after(() => Promise.all(loads.map((load) => load.stop())));
  const { client } = await startTestAgent(t);
  const sides = {
    old: { ms: 20, errorEvery: Number.POSITIVE_INFINITY },
    clean: { ms: 20, errorEvery: Number.POSITIVE_INFINITY },
    faulty: { ms: 20, errorEvery: 50 },
    slow: { ms: 60, errorEvery: Number.POSITIVE_INFINITY },
  };
  const names = Object.keys(sides);
  const first = await freePorts(names.length);
  const port = (name: string) => first + names.indexOf(name);
  const frontends = Object.fromEntries(
    names.map((name) => [name, { binds: [{ port: port(name) }], defaultBackend: name }]),
  );
  await change(client, "edge/main", [{ verb: "edge.set", edge: "main", spec: { frontends, meter: true } }]);
  for (const [name, like] of Object.entries(sides)) {
    const spec = { servers: { s1: { address: "127.0.0.1", port: await app(t, like) } } };
    await change(client, `backend/main/${name}`, [{ verb: "backend.set", edge: "main", backend: name, spec }]);
  }
  for (const name of names)
    loads.push(
      startLoad({
        host: "127.0.0.1",
        port: port(name),
        mix: { rate: 80, connections: 16, postShare: 0, slow: 0, websockets: 0, streams: 0 },
      }),
    );
  await until("requests on every side", () => loads.every((load) => load.snapshot().requests > 0));
  const messages: string[] = [];
  const context = (backend: string): GateContext => ({
    title: `candidate ${backend}`,
    edges: [{ name: "main", agent: client }],
    candidate: { backend },
    stable: { backend: "old" },
    windowMs: 9000,
    signal: new AbortController().signal,
    progress: (message) => messages.push(message),
  });
  // Of 720 in its window; on a busy machine some are late.
  const minRequests = 50;
  const absolute = {
    kind: "sli" as const,
    interval: "1 second" as const,
    thresholds: ["p95 < 5 s", "5xx < 0.5 %"],
    minRequests,
  };
  const relative = {
    kind: "sli" as const,
    name: "relative",
    interval: "3 seconds" as const,
    notWorseThanStable: { metrics: ["p50" as const] },
    minRequests,
  };
  const outcome = (backend: string) =>
    watchGates(gates(absolute, { kind: "health", interval: "1 second" }, relative), context(backend)).then(
      () => "pass",
      (error: Error) => error.message,
    );
  const [clean, faulty, slow, silent] = await Promise.all(["clean", "faulty", "slow", "nowhere"].map(outcome));
  assert.equal(clean, "pass");
  assert.match(faulty ?? "", /gate sli: failed: 5xx [\d.]+ %, not < 0\.5 % \(\d+ requests\)/);
  assert.match(slow ?? "", /gate relative: failed: worse than the stable side: p50 \d+ ms beside \d+ ms/);
  assert.match(silent ?? "", /insufficient/);
  assert.ok(
    messages.some((message) => /watching [\d.]+ s\/9 s {2}p95 \d+ ms < 5000 ms {2}5xx 0 % < 0\.5 %/.test(message)),
    messages.at(-1),
  );
});
