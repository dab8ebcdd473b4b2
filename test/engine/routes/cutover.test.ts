import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { MIRROR_HEADER } from "../../../src/model/route/mirror";
import { startLoad } from "../../load/load";
import { HostedStack } from "../support/hosted";

/** Enough for a stage of 1 %. */
const RATE = 200;
const SECONDS = { shadow: 6, "1%": 10, "10%": 6, "50%": 6, "100%": 6 };

/** A system that serves rows; what is wrong with it can be set. */
async function system(t: TestContext, name: string) {
  const state = { name, rows: 3, badCopies: false, port: 0 };
  const server = createServer(({ headers }, response) => {
    response.statusCode = state.badCopies && headers[MIRROR_HEADER] !== undefined ? 500 : 200;
    response.end(JSON.stringify({ data: Array.from({ length: state.rows }, (_, id) => ({ id })), by: state.name }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  state.port = (server.address() as AddressInfo).port;
  return state;
}

test("a cutover goes from one system to another through parity and shadow, and back at any time", async (t) => {
  const hosted = await HostedStack.create(t);
  const { stack, client, port } = hosted;
  const old = await system(t, "old");
  const fresh = await system(t, "fresh");
  const requests = ["/1", "/2"].map((url) => JSON.stringify({ method: "GET", path: url }));
  await stack.write("requests.jsonl", requests.join("\n"));
  const url = (side: { port: number }) => `http://127.0.0.1:${side.port}`;
  const backend = (side: { port: number }) => ({
    edge: "main",
    servers: { one: { address: "127.0.0.1", port: side.port } },
  });
  const go = (stage: string) =>
    hosted.declare({
      edges: {
        main: hosted.edge({ frontends: { http: { binds: [{ port }], defaultBackend: "old" } }, meter: true }),
      },
      backends: { old: backend(old), fresh: backend(fresh) },
      cutovers: {
        catalogue: {
          edges: ["main"],
          from: "old",
          to: "fresh",
          stage,
          parity: {
            requests: path.join(stack.folder, "requests.jsonl"),
            upstreamUrl: url(old),
            candidateUrl: url(fresh),
          },
          // The systems, the load and the engine share a machine, which may be a busy one.
          slo: { p99: "20 seconds" },
          refresh: { http: url(fresh), contains: "fresh" },
          interval: "500 milliseconds",
          minRequests: 1,
          window: Object.fromEntries(Object.entries(SECONDS).map(([name, seconds]) => [name, `${seconds} seconds`])),
        },
      },
    });
  const place = async () => {
    const route = await client.route("catalogue");
    return [route?.spec.stable, route?.spec.stage, route?.splits.main, route?.mirrors?.main];
  };
  const up = async (stage: string) => {
    await go(stage);
    const { exit, stdout, stderr } = await stack.up();
    return { exit, output: stdout + stderr };
  };
  const reach = async (stage: string) => {
    const { exit, output } = await up(stage);
    assert.equal(exit, 0, output);
  };

  await reach("stable");
  const mix = { rate: RATE, connections: 32, postShare: 0, slow: 0, websockets: 0, streams: 0 };
  const load = startLoad({ host: "127.0.0.1", port, mix, timeoutMs: 120_000 });
  t.after(() => load.stop());

  await t.test("the preview shows every stage on the way, and refuses one that is none", async () => {
    await go("1%");
    const { stdout, stderr } = await stack.preview();
    const output = stdout + stderr;
    for (const line of [
      /from 0% to 1% of the requests in 3 stages, at least 16 s in all:/,
      /parity \(0%\) for 0 seconds, if it passes:\s+parity: .*requests\.jsonl has the same answers/,
      /shadow \(0%\), 100% mirrored for 6 seconds, if it passes:\s+shadow \(sli\): of the shadow's answers, errors < 0\.1 %, p99 < 20000 ms/,
      /1% for 10 seconds, if it passes:\s+service level \(sli\): errors < 0\.1 %/,
    ])
      assert.match(output, line);
    await go("half");
    const wrong = await stack.preview();
    assert.match(wrong.stdout + wrong.stderr, /"half" is not a stage of a cutover: use one of "stable", "parity"/);
  });

  await t.test("answers that differ refuse the first stage", async () => {
    fresh.rows = 2;
    const { exit, output } = await up("1%");
    fresh.rows = 3;
    assert.notEqual(exit, 0, output);
    assert.match(output, /stage parity of route catalogue: gate parity: failed: of 2 requests, 2 differ/);
    assert.deepEqual(await place(), ["old", "stable", 0, 0]);
  });

  await t.test("a shadow that answers 500 is a breach, and nobody has seen it", async () => {
    fresh.badCopies = true;
    const { exit, output } = await up("1%");
    fresh.badCopies = false;
    assert.notEqual(exit, 0, output);
    assert.match(output, /stage shadow of route catalogue: gate shadow: failed: errors 100 %, not < 0\.1 %/);
    assert.deepEqual(await place(), ["old", "stable", 0, 0]);
  });

  await t.test("one update goes through parity and shadow to 1%, and none can be left out", async () => {
    await reach("1%");
    assert.deepEqual(await place(), ["old", "1%", 100, 0]);
    const { exit, output } = await up("decommissioned");
    assert.notEqual(exit, 0, output);
    assert.match(output, /fresh can't become the stable side yet: as the candidate it has 1% of the requests/);
    assert.deepEqual(await place(), ["old", "1%", 100, 0]);
  });

  await t.test("at 100% the old system is decommissioned without anybody moving, and comes back at once", async () => {
    await reach("100%");
    assert.deepEqual(await place(), ["old", "100%", 10_000, 0]);
    await reach("decommissioned");
    assert.deepEqual(await place(), ["fresh", "stable", 0, undefined]);
    assert.match((await hosted.ask("/")).text, /"by":"fresh"/);
    // A fault of the new system must not hold up the rollback.
    fresh.rows = 2;
    await reach("50%");
    assert.deepEqual(await place(), ["old", "50%", 5000, 0]);
    await reach("stable");
    assert.deepEqual(await place(), ["old", "stable", 0, 0]);
    assert.match((await hosted.ask("/")).text, /"by":"old"/);
  });

  const { failed, failures } = await load.stop();
  assert.equal(failed, 0, JSON.stringify(failures));
});
