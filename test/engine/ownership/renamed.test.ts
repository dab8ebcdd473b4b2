import assert from "node:assert/strict";
import test from "node:test";
import { allStats, send } from "../../../src/agent/processes/identity";
import { read } from "../../../tools/processes.mjs";
import { until } from "../../support/until";
import { KINDS, type Kind, outputOf, type Placing, Site, succeeded } from "../support/site";

/** Titles of everything but the agent in previews. */
const TITLES: Partial<Record<Kind, string>> = {
  edge: "edge main",
  backend: "backend main/api",
  pool: "pool web",
  node: "pool node",
  route: "route half",
};

/** The same placing for all kinds, each with names of its own. */
function everyKind(placing: (kind: Kind) => Placing[Kind]): Placing {
  return Object.fromEntries(KINDS.map((kind) => [kind, placing(kind)]));
}

/** The provider that an update has started. */
async function providerOf(cli: number): Promise<number> {
  const stats = await allStats();
  const isProvider = (pid: number) => read(`/proc/${pid}/cmdline`).includes("pulumi-resource-sluice");
  const found = stats.find(({ pid, parent }) => parent === cli && isProvider(pid));
  assert.ok(found !== undefined, "the update has a provider");
  return found.pid;
}

test("what is renamed or re-parented goes on as it runs", async (t) => {
  const site = await Site.start(t);
  const { hosted } = site;
  const { stack, client } = hosted;
  const before = await site.facts();
  const moved = async (placing: Placing) => {
    await site.declare(placing);
    succeeded(await stack.up());
    await site.assertUnmoved(before);
  };
  const inSite = (kind: Kind) => ({ name: `${kind}-2`, $parent: "site" });

  await t.test("re-parented with an alias", async () => {
    await moved(everyKind(() => ({ $parent: "site", $fromRoot: true })));
  });

  await t.test("renamed with an alias", async () => {
    await moved(everyKind((kind) => ({ ...inSite(kind), $alias: site.names[kind] })));
  });

  await t.test("renamed in the state alone", async () => {
    for (const [kind, urn] of Object.entries(await site.urns()))
      await site.run("state", "rename", urn, `${kind}-elsewhere`, "--yes", "--stack", "dev");
    await moved(everyKind(inSite));
  });

  await t.test("renamed and re-parented in the program, without an alias", async () => {
    const old = await site.urns();
    const placing = everyKind((kind) => ({ name: `${kind}-3` }));
    await site.declare(placing);
    const preview = outputOf(succeeded(await stack.preview()));
    for (const [kind, title] of Object.entries(TITLES))
      assert.ok(preview.includes(`takes over ${title} from ${old[kind as Kind]}: nothing restarts`), preview);
    await moved(placing);
  });

  await t.test("renamed, where the provider dies between the create and the delete", async () => {
    const { pool: old } = await site.urns();
    const placing = everyKind((kind) => ({ name: kind === "pool" ? "shop" : `${kind}-3` }));
    const ports = { from: hosted.port + 14, to: hosted.port + 18 };
    await site.declare(placing, { beside: hosted.pool("bad", { ports, edge: "edge-3" }) });
    const up = stack.start("up");
    const isTaken = async () => ![old, undefined].includes((await client.pool("web"))?.owner?.urn);
    await until("the pool to be taken over", isTaken, { deadlineMs: 120_000 });
    send(await providerOf(up.pid), "SIGKILL");
    assert.notEqual((await up.finished).exit, 0);
    await until("the rest to be undone", async () => (await client.pool("beside")) === undefined);
    assert.ok((await hosted.recorded("Pool")).some(({ urn }) => urn === old));
    await moved(placing);
  });

  await t.test("not to a name that something else in the program has", async () => {
    await site.declare({}, { beside: hosted.pool("v1", { name: "web" }) });
    const preview = await stack.preview();
    assert.notEqual(preview.exit, 0);
    assert.match(outputOf(preview), /pool\/web is declared by urn:\S*-pool too: give this one another name/);
  });
});
