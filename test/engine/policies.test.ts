import assert from "node:assert/strict";
import path from "node:path";
import test from "node:test";
import { startLoad } from "../load/load";
import { type Outcome, REPOSITORY, violationsOf } from "./support/engine";
import { HostedStack } from "./support/hosted";

const PACK = path.join(REPOSITORY, "policies");
/** A freeze around now, whatever the clock says. */
const FROZEN = { "freeze-window": { calendar: [{ name: "test freeze", from: "2000-01-01", to: "2099-12-31" }] } };
const GATE = { kind: "sli", thresholds: ["5xx < 1 %"], minRequests: 20, interval: "1 second" };
/** A window in which the meter sees requests even where the machine is busy. */
const WINDOW = "10 seconds";

/** Refusals of an update: policies and resources, in alphabetical order. */
function refusals(outcome: Outcome): string[] {
  const titles = violationsOf(outcome).map(({ title }) => title);
  return titles
    .filter((title) => title.startsWith("mandatory "))
    .map((title) => title.slice("mandatory ".length))
    .toSorted();
}

/** The option that replaces what is recorded of a type. */
function replacing(type: string, { resources }: { resources: readonly { type: string; urn: string }[] }): string[] {
  return resources.flatMap((each) => (each.type === `sluice:index:${type}` ? ["--replace", each.urn] : []));
}

function textOf(outcome: Outcome): string {
  return violationsOf(outcome)
    .map(({ message }) => message)
    .join("\n");
}

test("the policy pack lets careful promotions through, and refuses careless ones on preview and on up", async (t) => {
  const hosted = await HostedStack.create(t, { stack: "prod" });
  const { stack, port } = hosted;
  const withPack = async (config: object = {}) => {
    await stack.write(
      "pack.json",
      JSON.stringify({ "sli-window": { minimum: WINDOW }, "minimum-requests": { requests: 20 }, ...config }),
    );
    return ["--policy-pack", PACK, "--policy-pack-config", path.join(stack.folder, "pack.json")];
  };
  const clock = { policy: "singleton", command: ["sleep", "1000"] };
  const processes = (web: object = {}, more: object = {}) => ({ processes: { web: hosted.web(web), ...more } });
  const pool = (id: string, from: number, changes: object = {}) =>
    hosted.pool(id, { ports: { from: port + from, to: port + from + 3 }, longestRequest: "5 seconds", ...changes });
  const edges = { main: hosted.edge({ meter: true }) };
  const pools = { web: pool("v1", 1, processes({}, { clock })), api: pool("v1", 5) };
  const stages = ["10%", "100%"].map((split) => ({ split, window: WINDOW, gates: [GATE] }));
  const route = { edges: ["main"], stable: "web", candidate: "api", slo: ["5xx < 1 %"], stages, stage: "stable" };
  const careful = { edges, pools, routes: { all: route } };

  /** Expects that both a preview and an update are refused for exactly these reasons; gives what was said of them. */
  const refused = async (args: string[], reasons: string[]): Promise<string> => {
    const preview = await stack.preview(...args);
    assert.notEqual(preview.exit, 0);
    assert.deepEqual(refusals(preview), reasons, preview.stdout);
    const up = await stack.up(...args);
    assert.notEqual(up.exit, 0);
    assert.deepEqual(refusals(up), reasons, up.stdout);
    return textOf(preview);
  };

  await t.test("a careful stack passes", async () => {
    await hosted.declare(careful);
    const args = await withPack();
    for (const outcome of [await stack.preview(...args), await stack.up(...args)]) {
      assert.equal(outcome.exit, 0, outcome.stdout);
      assert.deepEqual(refusals(outcome), []);
    }
  });

  await t.test("a pool's candidate is held to the same", async () => {
    const bad = [{ split: "60%", window: "6 seconds", gates: [{ ...GATE, minRequests: 1 }] }];
    const canary = { release: hosted.release("v2"), stages: bad, stage: "60%" };
    const web = pool("v1", 1, { ...processes({}, { clock }), canary });
    await hosted.declare({ ...careful, pools: { ...pools, web } });
    const preview = await stack.preview(...(await withPack(FROZEN)));
    assert.deepEqual(
      refusals(preview),
      ["freeze-window", "minimum-requests", "promotion-stages", "sli-window"].map((name) => `${name} web-pool`),
      preview.stdout,
    );
    assert.match(textOf(preview), /the way of candidate v2 to 60% is frozen by "test freeze"/);
  });

  await t.test(
    "a route is refused for its stages, gates, windows, samples, service level, and for the time",
    async () => {
      const bad = [
        { split: "1%", window: "6 seconds", gates: [{ ...GATE, thresholds: ["5xx < 5 %"], minRequests: 1 }] },
        { split: "60%", window: "0 seconds" },
        { split: "100%" },
      ];
      await hosted.declare({ ...careful, routes: { all: { ...route, stages: bad, stage: "100%" } } });
      const said = await refused(await withPack(FROZEN), [
        "freeze-window all-route",
        "minimum-requests all-route",
        "promotion-gates all-route",
        "promotion-stages all-route",
        "sli-window all-route",
        "slo-thresholds all-route",
      ]);
      assert.match(
        said,
        /stages\[1\]\.split: 1% to 60% is a jump by a factor of 60, above 10: put a stage such as "10%"/,
      );
      assert.equal((await hosted.client.route("all"))?.committed, 0);
    },
  );

  await t.test("a pool is refused for what it keeps, drains, shows and sets, and for the time", async () => {
    const env = { DB_PASSWORD: "hunter2", API_TOKEN: { $secret: "t0k3n" }, OLD_FLAG: "1", HOST: "0.0.0.0" };
    const removedSettings = { OLD_FLAG: { from: "2026-01-01", instead: "NEW_FLAG" } };
    const retain = { count: 0 };
    const bad = { retain, removedSettings, longestRequest: "5 minutes", ...processes({ env }) };
    await hosted.declare({ ...careful, pools: { ...pools, api: pool("v2", 5, bad) } });
    const said = await refused(await withPack(FROZEN), [
      "drain-time api-pool",
      "freeze-window api-pool",
      "plain-secrets api-pool",
      "public-listeners api-pool",
      "removed-settings api-pool",
      "rollback-target api-pool",
    ]);
    assert.match(said, /processes\.web\.env\.DB_PASSWORD: is a secret by its name, in plain text/);
    assert.doesNotMatch(said, /hunter2|API_TOKEN/);
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
      const said = await refused(await withPack(), ["plain-secrets test-prod"]);
      assert.doesNotMatch(said, /hunter2/);
      await stack.config("app:dbPassword", "hunter2", true);
    },
  );

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
      /goes out although "test freeze" lasts .*: ana allowed it until .*, since the fix of an outage/,
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
