import assert from "node:assert/strict";
import test from "node:test";
import { carefulStack, FROZEN, refusals } from "../support/careful";

test("the policy pack refuses careless pools, edges, agents and stack config on preview and on up", async (t) => {
  const { hosted, refused, withPack, processes, pool, pools, edges, careful, clock } = await carefulStack(t);
  const { stack, port } = hosted;
  await hosted.declare(careful);
  const first = await stack.up(...(await withPack()));
  assert.equal(first.exit, 0, first.stdout);

  await t.test("a pool is refused for what it keeps, drains, shows and sets, and for the time", async () => {
    const env = { DB_PASSWORD: "hunter2", API_TOKEN: { $secret: "t0k3n" }, OLD_FLAG: "1", HOST: "0.0.0.0" };
    const removedSettings = { OLD_FLAG: { from: "2026-01-01", instead: "NEW_FLAG" } };
    const retain = { count: 0 };
    const bad = { retain, removedSettings, longestRequest: "5 minutes", ...processes({ env }) };
    await hosted.declare({ ...careful, pools: { ...pools, api: pool("v2", 5, bad) } });
    const output = await refused(await withPack(FROZEN), [
      "drain-time api-pool",
      "freeze-window api-pool",
      "plain-secrets api-pool",
      "public-listeners api-pool",
      "removed-settings api-pool",
      "rollback-target api-pool",
    ]);
    assert.match(output, /processes\.web\.env\.DB_PASSWORD: is a secret by its name, in plain text/);
    assert.doesNotMatch(output, /hunter2|API_TOKEN/);
    assert.equal((await hosted.client.pool("api"))?.live.release, "v1");
  });

  await t.test("the later one of two pools is refused for what may run once", async () => {
    await hosted.declare({ ...careful, pools: { ...pools, api: pool("v1", 5, processes({}, { clock })) } });
    const preview = await stack.preview(...(await withPack()));
    assert.notEqual(preview.exit, 0);
    assert.match(refusals(preview).join(), /^single-instances (?:api|web)-pool$/);
    const up = await stack.up(...(await withPack()));
    assert.notEqual(up.exit, 0);
    assert.match(refusals(up).join(), /^single-instances (?:api|web)-pool$/);
  });

  await t.test(
    "an edge is refused for listening everywhere, an agent for its socket, a stack for its config",
    async () => {
      const binds = [{ address: "0.0.0.0", port }];
      await hosted.declare({
        ...careful,
        edges: { main: { ...edges.main, frontends: { http: { binds, defaultBackend: "web" } } } },
      });
      await refused(await withPack(), ["public-listeners main-edge"]);
      await hosted.declare({ ...careful, host: { directory: hosted.host, socket: hosted.socket, mode: "0666" } });
      await refused(await withPack(), ["agent-socket local-agent"]);
      await hosted.declare(careful);
      await stack.config("app:dbPassword", "hunter2");
      const output = await refused(await withPack(), ["plain-secrets test-prod"]);
      assert.doesNotMatch(output, /hunter2/);
      await stack.config("app:dbPassword", "hunter2", true);
    },
  );
});
