import assert from "node:assert/strict";
import path from "node:path";
import test from "node:test";
import { aboutAgent } from "../../../src/agent/client/launch";
import { outputOf, Site, succeeded } from "../support/site";

test("what a stack has stays its own, whatever the stack is called and whatever else declares it", async (t) => {
  const site = await Site.start(t);
  const { hosted } = site;
  const { stack } = hosted;
  const before = await site.facts();
  const exported = path.join(stack.folder, "older.json");
  const update = async () => {
    const up = outputOf(succeeded(await stack.up()));
    await site.assertUnmoved(before);
    return up;
  };

  await t.test("another stack is refused at the preview and at the update, and told whose it is", async () => {
    const other = await hosted.neighbour(t);
    const owners = await site.owners();
    await site.declare({}, { on: other });
    for (const refused of [await other.stack.preview(), await other.stack.up()]) {
      assert.notEqual(refused.exit, 0);
      const edge = /edge\/main belongs to stack dev of project test \(urn:\S+main-edge\): destroy it there, move that/;
      assert.match(outputOf(refused), edge);
    }
    assert.deepEqual({ ...(await site.owners()), host: owners.host }, owners);
    await other.declare({});
    assert.match(outputOf(succeeded(await other.stack.destroy())), /the agent of \S+ goes on: urn:\S+ declares it too/);
    await site.assertUnmoved(before);
  });

  await t.test("its record is lost, and an update takes it over", async () => {
    await site.run("stack", "export", "--stack", "dev", "--file", exported);
    await site.run("state", "delete", "--all", "--yes", "--stack", "dev");
    await update();
  });

  await t.test("an older record is restored", async () => {
    await site.run("stack", "import", "--stack", "dev", "--file", exported);
    await update();
  });

  await t.test("the stack is renamed", async () => {
    await stack.renameStack("prod");
    await update();
  });

  await t.test("the project is renamed", async () => {
    await stack.renameProject("shop");
    await update();
  });

  await t.test("the stack is renamed, and destroyed", async () => {
    await stack.renameStack("last");
    succeeded(await stack.destroy());
    assert.equal(await aboutAgent(hosted.socket), undefined);
    await assert.rejects(hosted.ask(), /ECONNREFUSED/);
  });
});
