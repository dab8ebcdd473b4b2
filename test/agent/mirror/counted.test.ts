import assert from "node:assert/strict";
import test from "node:test";
import { quantile } from "../../../src/model/gate/histogram";
import { SHADOW } from "../../../src/model/gate/sli";
import { OWNER } from "../../support/transaction";
import { routeStep, send, side, startMirrored, until } from "./support";

const MIRROR = { to: "dark", share: "100%", timeout: "5 seconds" } as const;
const OF_EACH = 10;

test("the meter counts a shadow's answers by the same metrics, and apart from what clients got", async (t) => {
  const stable = await side(t, "stable");
  const dark = await side(t, "dark", (request, response) => {
    response.statusCode = request.url === "/bad" ? 500 : request.url === "/gone" ? 404 : 200;
    if (request.url === "/cut") response.destroy();
    else if (request.url !== "/never") setTimeout(() => response.end("dark"), 40);
  });
  const agent = await startMirrored(t, { web: stable, dark }, { meter: true });
  const { port, route } = agent;
  await route({});
  // Stays open, so that its evidence is about the time until now.
  const { id } = await agent.client.begin({ target: "route/api", owner: OWNER, leaseMs: 600_000 });
  await agent.client.step(id, routeStep({ mirror: MIRROR }), () => undefined);
  const from = Date.now() - 5000;
  const counts = async (backend?: string) => {
    const more = backend === undefined ? {} : { backend };
    return agent.client.sli({ edge: "main", route: "api", ...more, from, to: Date.now() });
  };
  for (let count = 0; count < OF_EACH; count++)
    for (const path of ["/", "/bad", "/gone", "/cut"]) assert.equal((await send(port, path)).status, 200);
  await send(port, "/never");
  const copies = 4 * OF_EACH + 1;
  await until("all copies are counted", async () => (await counts(SHADOW)).counts.requests === copies);
  const shadow = await counts(SHADOW);
  // One that broke off is a 502, one that was never answered a 504.
  assert.deepEqual(
    [shadow.counts.status5xx, shadow.counts.status4xx, shadow.counts.connect, shadow.counts.aborted],
    [2 * OF_EACH + 1, OF_EACH, 0, 0],
  );
  const p50 = quantile(shadow.head, 0.5) ?? 0;
  const longest = quantile(shadow.head, 1) ?? 0;
  // Quantiles are right to 1 %. The longest is the one that was given up.
  assert.ok(p50 >= 39 && p50 < longest && longest >= 4950, `${p50} ms, ${longest} ms`);
  await until("the requests are counted", async () => (await counts()).counts.requests === copies);
  assert.equal((await counts()).counts.status5xx, 0);
  assert.equal((await counts("dark")).counts.requests, 0);

  await t.test("and its evidence shows both sides over time", async () => {
    const record = (await agent.client.evidenceOf(id))?.record;
    assert.deepEqual(record?.summary, { from: "0%, 0% mirrored", to: "0%, 100% mirrored" });
    assert.deepEqual(
      record?.sides.map(({ role, label }) => [role, label]),
      [
        ["stable", "web"],
        ["shadow", "dark"],
      ],
    );
    const points = (role: string) => record?.series.find((one) => one.role === role)?.points ?? [];
    const sum = (role: string, of: "requests" | "errors" | "dropped") =>
      points(role).reduce((total, point) => total + (point[of] ?? 0), 0);
    assert.deepEqual([sum("stable", "requests"), sum("stable", "errors")], [copies, 0]);
    assert.deepEqual(
      [sum("shadow", "requests"), sum("shadow", "errors"), sum("shadow", "dropped")],
      [copies, 2 * OF_EACH + 1, 0],
    );
    assert.ok(points("shadow").every(({ dropped }) => dropped === 0));
    assert.ok(points("stable").every(({ dropped }) => dropped === undefined));
  });

  await dark.close();
  await send(port, "/refused");
  await until("a refused copy is counted", async () => (await counts(SHADOW)).counts.connect === 1);
});
