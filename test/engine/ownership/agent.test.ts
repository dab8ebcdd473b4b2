import assert from "node:assert/strict";
import test from "node:test";
import { HostedStack } from "../support/hosted";
import { outputOf, succeeded } from "../support/site";

test("the stack that declares an agent first says what its options are, until it is destroyed", async (t) => {
  const owner = await HostedStack.create(t);
  const other = await owner.neighbour(t);
  const declare = (on: HostedStack, options: object = {}) =>
    on.declare({ host: { directory: owner.host, socket: owner.socket, ...options } });
  const facts = async () => {
    const { options, pid } = await owner.client.about();
    return { options, pid };
  };
  await declare(owner, { mode: "0660" });
  succeeded(await owner.stack.up());
  const before = await facts();
  const refused = async (options: object, named: RegExp, stack = "dev") => {
    await declare(other, options);
    for (const outcome of [await other.stack.preview(), await other.stack.up()]) {
      assert.notEqual(outcome.exit, 0);
      assert.match(outputOf(outcome).replaceAll(/\s+/g, " "), new RegExp(`belongs to stack ${stack} of project test `));
      assert.match(outputOf(outcome), named);
    }
    assert.deepEqual(await facts(), before);
  };

  await t.test("another stack with other options is refused, also with another socket", async () => {
    await refused({}, /which declares another mode: declare the same here/);
    await refused({ mode: "0660", socket: `${owner.socket}2` }, /which declares another socket: /);
  });

  await t.test("with the same options it is let in, and can't change them later", async () => {
    await declare(other, { mode: "0660" });
    succeeded(await other.stack.up());
    await refused({ mode: "0600" }, /which declares another mode: /);
  });

  await t.test("a renamed resource, a lost record and a renamed stack stay the owner", async () => {
    await declare(owner, { mode: "0660", $name: "moved" });
    succeeded(await owner.stack.up());
    await refused({ mode: "0600" }, /which declares another mode: /);
    await owner.stack.run("state", "delete", "--all", "--yes", "--stack", "dev", "--non-interactive");
    succeeded(await owner.stack.up());
    await refused({ mode: "0600" }, /which declares another mode: /);
    await owner.stack.renameStack("prod");
    succeeded(await owner.stack.up());
    await refused({ mode: "0600" }, /which declares another mode: /, "prod");
  });

  await t.test("once it is destroyed, the other stack is the owner", async () => {
    succeeded(await owner.stack.destroy());
    await declare(other, { mode: "0600" });
    succeeded(await other.stack.up());
    assert.equal((await owner.client.about()).options.mode, "0600");
    await declare(owner, { mode: "0660" });
    assert.match(
      outputOf(await owner.stack.preview()).replaceAll(/\s+/g, " "),
      /belongs to stack other of project test /,
    );
  });
});
