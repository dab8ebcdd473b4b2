import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import test, { type TestContext } from "node:test";
import type { GateInput } from "../../model/gate";
import type { StageInput } from "../../model/stages";
import { startLoad } from "../load/load";
import { startPrometheus, withoutPrometheus } from "../support/prometheus";
import { until } from "../support/until";
import { HostedStack } from "./support/hosted";

/** What an app that promotions meet is like. */
interface Like {
  ms: number;
  /** Every so-manieth request is answered with 500. @default none */
  errorEvery?: number;
}

const SIDES = { blue: { ms: 20 }, clean: { ms: 20 }, faulty: { ms: 20, errorEvery: 50 }, slow: { ms: 60 } };
const SPLITS = ["1%", "10%", "50%", "100%"] as const;
const interval = "300 milliseconds";
const errors: GateInput = { kind: "sli", name: "errors", interval, thresholds: ["5xx < 0.5 %"], minRequests: 50 };

async function backend(t: TestContext, { ms, errorEvery }: Like): Promise<object> {
  let count = 0;
  const server = createServer((_request, response) => {
    count++;
    response.statusCode = errorEvery !== undefined && count % errorEvery === 0 ? 500 : 200;
    setTimeout(() => response.end("hello"), ms);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { edge: "main", servers: { one: { address: "127.0.0.1", port: (server.address() as AddressInfo).port } } };
}

test("gates decide how a promotion under load ends", async (t) => {
  const hosted = await HostedStack.create(t);
  const { stack, client } = hosted;
  const sides = await Promise.all(
    Object.entries(SIDES).map(async ([name, like]) => [name, await backend(t, like)] as const),
  );
  const edges = {
    main: hosted.edge({
      frontends: { http: { binds: [{ port: hosted.port }], defaultBackend: "blue" } },
      meter: true,
    }),
  };
  const declare = (candidate: string, stage: string, stages: StageInput[], more: object = {}) =>
    hosted.declare({
      edges,
      backends: Object.fromEntries(sides),
      routes: { api: { edges: ["main"], stable: "blue", candidate, stage, stages, ...more } },
    });
  const split = async () => (await client.route("api"))?.splits.main;
  const startTraffic = (rate: number) => {
    const mix = { rate, connections: 64, postShare: 0, slow: 0, websockets: 0, streams: 0 };
    // The app, the load and the engine share a machine, which may be a busy one.
    const load = startLoad({ host: "127.0.0.1", port: hosted.port, mix, timeoutMs: 120_000 });
    t.after(() => load.stop());
    return load;
  };
  /** An update that a gate ends: what it says, with the split as it was before. */
  const breach = async (): Promise<string> => {
    const before = await split();
    const { exit, stdout, stderr } = await stack.up();
    assert.notEqual(exit, 0, "it passed");
    assert.equal(await split(), before);
    assert.deepEqual((await client.status()).transactions, []);
    return stdout + stderr;
  };

  await declare("clean", "stable", [{ split: "100%" }]);
  const first = await stack.up();
  assert.equal(first.exit, 0, first.stdout);

  await t.test("a window without traffic is insufficient, and undone", async () => {
    await declare("clean", "50%", [{ split: "50%", window: "5 seconds", gates: [errors] }]);
    assert.match(await breach(), /gate errors: insufficient at the end of the window of 5 s: 0 of 50 requests/);
  });

  // Enough for a stage of 1 %.
  const much = startTraffic(200);

  await t.test("a clean candidate walks 1% -> 10% -> 50% -> 100% through its gates", async () => {
    const gates: GateInput[] = [
      { ...errors, thresholds: ["5xx < 0.5 %", "p95 < 5 s"], minRequests: 1 },
      { kind: "health", interval },
      { kind: "http", url: `http://127.0.0.1:${hosted.port}/`, interval },
      { kind: "command", command: ["true"], window: "0 seconds" },
    ];
    await declare(
      "clean",
      "100%",
      SPLITS.map((share) => ({ split: share, window: share === "1%" ? "10 seconds" : "6 seconds", gates })),
    );
    const { stdout, stderr } = await stack.preview();
    const said = stdout + stderr;
    assert.match(said, /from 0% to 100% of the requests in 4 stages, at least 28 s in all:/);
    assert.match(
      said,
      / 1% for 10 seconds, if it passes:\s+errors \(sli\): 5xx < 0.5 %, p95 < 5 s, at least 1 requests/,
    );
    assert.equal(await split(), 0);
    const up = await stack.up();
    assert.equal(up.exit, 0, up.stdout);
    assert.equal(await split(), 10_000);
    const progress = up.events.flatMap(({ diagnosticEvent }) => diagnosticEvent?.message ?? "").join("\n");
    for (const share of SPLITS) assert.match(progress, new RegExp(`stage ${share}: watching .*5xx 0 % < 0.5 %`));
    const { failed, failures } = await much.stop();
    assert.equal(failed, 0, JSON.stringify(failures));
  });

  const load = startTraffic(60);

  await t.test("down is at once, whatever the gates", async () => {
    const gates: GateInput[] = [{ kind: "command", command: ["false"] }];
    await declare("clean", "stable", [{ split: "100%", window: "1 hour", gates }]);
    assert.equal((await stack.up()).exit, 0);
    assert.equal(await split(), 0);
    assert.deepEqual(load.snapshot().failures, []);
  });

  await t.test("2 % errors are undone within the window, by the first red probe", async () => {
    await declare("faulty", "50%", [{ split: "50%", window: "5 minutes", gates: [errors] }]);
    assert.match(await breach(), /gate errors: failed: 5xx [\d.]+ %, not < 0\.5 % \(\d+ requests\)/);
  });

  await t.test("a p95 of 3 times the stable side's is undone within the window", async () => {
    const gates: GateInput[] = [
      { kind: "sli", name: "latency", interval, notWorseThanStable: { metrics: ["p95"] }, minRequests: 50 },
    ];
    await declare("slow", "50%", [{ split: "50%", window: "5 minutes", gates }]);
    assert.match(await breach(), /gate latency: failed: worse than the stable side: p95 \d+ ms beside \d+ ms/);
  });

  await t.test(
    "a metrics server that dies within the window is unavailable",
    { skip: withoutPrometheus },
    async (t) => {
      const { url, kill } = await startPrometheus(t, "127.0.0.1:1");
      const gates: GateInput[] = [
        { kind: "sli", source: "prometheus", url, query: "vector(1)", must: "> 0", interval },
      ];
      await declare("clean", "50%", [{ split: "50%", window: "5 minutes", gates }]);
      const up = breach();
      await until("the walk is at 50%", async () => (await split()) === 5000, { deadlineMs: 60_000 });
      kill();
      assert.match(await up, /gate sli: unavailable 3 times in a row: http.* did not answer: /);
    },
  );

  await t.test("a soak is judged by what was recorded, before any request goes to its stage", async () => {
    const soaked = (duration: string) => {
      const gates = [{ kind: "soak", duration, thresholds: ["5xx < 0.5 %"], minRequests: 1 }] as GateInput[];
      return [
        { split: "10%", window: "0 seconds" },
        { split: "100%", window: "0 seconds", gates },
      ] satisfies StageInput[];
    };
    await declare("clean", "100%", soaked("1 hour"));
    assert.match((await stack.preview()).stdout, /go to stage 10% first, and on once it was held/);
    await declare("clean", "10%", soaked("1 hour"));
    assert.equal((await stack.up()).exit, 0);
    await declare("clean", "100%", soaked("1 hour"), { onBreach: "stable" });
    const early = await stack.preview();
    assert.match(
      early.stdout + early.stderr,
      /stage 100% can't be entered yet: its gate soak wants the route to be held/,
    );
    // Too early is no breach: who is on the candidate stays there.
    assert.match(await breach(), /gate soak: insufficient: held for .*: [\d.]+ min are missing/);
    assert.equal(await split(), 1000);
    const { since = 0 } = (await client.route("api")) ?? {};
    await until("it was held for long enough", () => Date.now() - since > 12_000);
    await declare("clean", "100%", soaked("10 seconds"));
    const up = await stack.up();
    assert.equal(up.exit, 0, up.stdout);
    assert.equal(await split(), 10_000);
    await declare("clean", "stable", [{ split: "100%" }]);
    assert.equal((await stack.up()).exit, 0);
  });

  await t.test("the deployer's death at any stage puts the split back within the lease", async () => {
    for (const at of SPLITS) {
      const hour = { split: at, window: "1 hour", gates: [errors] } satisfies StageInput;
      const stages = SPLITS.map((share) => (share === at ? hour : { split: share, window: "0 seconds" }) as StageInput);
      await declare("clean", "100%", stages);
      const up = stack.start("up");
      await until(`the walk is at ${at}`, async () => (await split()) === Number.parseInt(at, 10) * 100, {
        deadlineMs: 60_000,
      });
      const [transaction] = (await client.status()).transactions;
      process.kill(transaction?.owner.pid ?? 0, "SIGKILL");
      const killed = performance.now();
      await until("the split is back", async () => (await split()) === 0);
      t.diagnostic(`killed at ${at}: back after ${Math.round(performance.now() - killed)} ms`);
      up.signal("SIGKILL");
      await up.finished;
      await stack.cancel();
    }
  });

  await t.test("gates that can't be judged are refused at the preview, each with its path", async (t) => {
    const html = createServer((_request, response) => {
      response.setHeader("content-type", "text/html");
      response.end("<html>Sign in</html>");
    });
    await new Promise<void>((resolve) => html.listen(0, "127.0.0.1", resolve));
    t.after(() => {
      html.closeAllConnections();
      html.close();
    });
    const prometheus = (url: string) => ({ kind: "sli", source: "prometheus", url, query: "up", must: "> 0" }) as const;
    await declare("clean", "50%", [
      {
        split: "50%",
        gates: [
          { kind: "sli", thresholds: ["p95 < 500"], window: "-1 minutes" },
          { kind: "sli", thresholds: ["5xx < 5 ms"] },
        ],
      },
    ]);
    const input = await stack.preview();
    assert.notEqual(input.exit, 0);
    for (const said of [
      'stages[0].gates[0].thresholds[0]: "p95 < 500" has no unit',
      'stages[0].gates[0].window: "-1 minutes" is not a duration',
      'stages[0].gates[1].thresholds[0]: "5xx < 5 ms" has the unit "ms", but 5xx is a share in %',
    ])
      assert.ok(input.stdout.includes(said), input.stdout);

    Object.assign(edges.main, { meter: false });
    const url = `http://127.0.0.1:${(html.address() as AddressInfo).port}`;
    await declare("clean", "50%", [
      { split: "50%", gates: [prometheus(url), errors, prometheus("http://127.0.0.1:1/")] },
    ]);
    const reality = await stack.preview();
    assert.notEqual(reality.exit, 0);
    assert.match(reality.stdout, /stages\[0\]\.gates\[0\]: .*a web page \(HTML\): is it the address of a Prometheus/);
    assert.match(
      reality.stdout,
      /stages\[0\]\.gates\[1\]: judges by the meter of edge main, which is off: declare meter: true/,
    );
    assert.match(
      reality.stdout + reality.stderr,
      /warning: stages\[0\]\.gates\[2\]: its query could not be checked: .* did not answer/,
    );
  });
});
