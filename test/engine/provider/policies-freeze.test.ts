import assert from "node:assert/strict";
import test from "node:test";
import { startLoad } from "../../load/load";
import { carefulStack, FROZEN, refusals, textOf } from "../support/careful";

/** The option that replaces what is recorded of a type. */
function replacing(type: string, { resources }: { resources: readonly { type: string; urn: string }[] }): string[] {
  return resources.flatMap((each) => (each.type === `sluice:index:${type}` ? ["--replace", each.urn] : []));
}

test("the policy pack lets careful promotions through, and a freeze holds up what goes forward", async (t) => {
  const { hosted, withPack, processes, pool, pools, route, careful, clock } = await carefulStack(t);
  const { stack, port } = hosted;

  await hosted.declare(careful);
  const first = await stack.up(...(await withPack()));
  assert.equal(first.exit, 0, first.stdout);

  await t.test("a careful rollout and a new release pass", async () => {
    const mix = { rate: 60, postShare: 0, slow: 0, websockets: 0, streams: 0 };
    const load = startLoad({ host: "127.0.0.1", port, mix });
    t.after(() => load.stop());
    await hosted.declare({
      ...careful,
      pools: { ...pools, web: pool("v2", 1, processes({}, { clock })) },
      routes: { all: { ...route, stage: "100%" } },
    });
    const up = await stack.up(...(await withPack()));
    const { failures } = await load.stop();
    assert.equal(up.exit, 0, up.stdout);
    assert.deepEqual(failures, []);
    assert.equal((await hosted.client.route("all"))?.committed, 10_000);
  });

  await t.test("a freeze holds up what goes forward unless it is lifted, and never what goes back", async () => {
    const args = await withPack(FROZEN);
    await hosted.declare(careful);
    const back = await stack.up(...args, ...replacing("Pool", await stack.state()));
    assert.equal(back.exit, 0, back.stdout);
    assert.equal((await hosted.client.pool("web"))?.live.release, "v1");
    assert.equal((await hosted.client.route("all"))?.committed, 0);
    await hosted.declare({ ...careful, routes: { all: { ...route, stage: "10%" } } });
    const until = new Date(Date.now() + 3_600_000).toISOString();
    const override = { reason: "the fix of an outage", who: "ana", until };
    await stack.config("sluice:freezeOverride", JSON.stringify(override));
    const lifted = await stack.preview(...args);
    assert.equal(lifted.exit, 0, lifted.stdout);
    assert.match(
      textOf(lifted),
      /proceeds although "test freeze" lasts .*: ana allowed it until .*, since the fix of an outage/,
    );
    await stack.run("config", "rm", "--stack", "prod", "sluice:freezeOverride");
  });

  const web = (id: string) => pool(id, 1, processes({}, { clock }));
  const forward = { ...careful, pools: { ...pools, web: web("v2") }, routes: { all: { ...route, stage: "10%" } } };

  await t.test("a new release is held up though its record is replaced with it, or is a new one", async () => {
    const args = await withPack(FROZEN);
    await hosted.declare(forward);
    const recorded = await stack.state();
    const replaced = await stack.preview(...args, ...replacing("Pool", recorded), ...replacing("Route", recorded));
    assert.deepEqual(refusals(replaced), ["freeze-window all-route", "freeze-window web-pool"], replaced.stdout);
    assert.match(textOf(replaced), /release v2/);
    const { web: release, api } = forward.pools;
    await hosted.declare({
      ...forward,
      pools: { shop: { name: "web", ...release }, api },
      routes: { every: { name: "all", ...forward.routes.all } },
    });
    const moved = await stack.preview(...args);
    assert.deepEqual(refusals(moved), ["freeze-window every-route", "freeze-window shop-pool"], moved.stdout);
  });
});
