import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import test from "node:test";
import type { GateInput } from "../../../src/model/gate/gate";
import { errors, interval, SPLITS, startGated } from "../support/gated";

test("gates decide how a promotion under load ends", async (t) => {
  const { hosted, edges, declare, split, startTraffic, breach } = await startGated(t);
  const { stack } = hosted;

  await t.test("a window without traffic is insufficient, and undone", async () => {
    await declare("clean", "50%", [{ split: "50%", window: "5 seconds", gates: [errors] }]);
    assert.match(await breach(), /gate errors: insufficient at the end of the window of 5 s: 0 of 50 requests/);
  });

  // Enough for a stage of 1 %.
  const much = startTraffic(200);

  await t.test("a clean candidate goes 1% -> 10% -> 50% -> 100% through its gates", async () => {
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
    const output = stdout + stderr;
    assert.match(output, /from 0% to 100% of the requests in 4 stages, at least 28 s in all:/);
    assert.match(
      output,
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
