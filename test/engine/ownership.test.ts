import assert from "node:assert/strict";
import test from "node:test";
import { KINDS, type Placing, Site, said, succeeded } from "./support/site";

const TITLES = {
  edge: "edge main",
  backend: "backend main/api",
  pool: "pool web",
  node: "pool node",
  route: "route half",
};

test("what is renamed or re-parented goes on as it runs", async (t) => {
  const site = await Site.start(t);
  const { stack } = site.hosted;
  const before = await site.facts();
  const moved = async (placing: Placing) => {
    await site.declare(placing);
    const preview = said(succeeded(await stack.preview()));
    succeeded(await stack.up());
    await site.assertUnmoved(before);
    return { preview };
  };

  await t.test("renamed in the state alone", async () => {
    for (const [kind, urn] of Object.entries(await site.urns()))
      await site.run("state", "rename", urn, `${kind}-elsewhere`, "--yes", "--stack", "dev");
    const { preview } = await moved({});
    for (const title of [TITLES.edge, TITLES.backend, TITLES.route])
      assert.ok(preview.includes(`takes over ${title}, which runs already: nothing restarts`), preview);
    for (const pool of ["web", "node"]) assert.ok(preview.includes(`takes pool ${pool} over as it runs`), preview);
  });

  await t.test("renamed in the program, where it keeps its name on the host", async () => {
    const old = await site.urns();
    const renamed = Object.fromEntries(KINDS.map((kind) => [kind, { name: `${kind}-new` }]));
    const { preview } = await moved(renamed);
    for (const [kind, title] of Object.entries(TITLES)) {
      const urn = old[kind as keyof typeof TITLES];
      assert.ok(preview.includes(`takes over ${title} from ${urn}: nothing restarts`), preview);
    }
  });

  await t.test("re-parented without an alias", async () => {
    await moved(Object.fromEntries(KINDS.map((kind) => [kind, { $parent: "site" }])));
  });
});
