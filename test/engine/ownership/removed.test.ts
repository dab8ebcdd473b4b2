import assert from "node:assert/strict";
import test from "node:test";
import { sluice } from "../../cli/support/sluice";
import { HostedStack } from "../support/hosted";
import { outputOf, succeeded } from "../support/site";

test("what a stack had that was removed by force is another one's after the command that the refusal names", async (t) => {
  const owner = await HostedStack.create(t);
  const other = await owner.neighbour(t);
  const edges = {
    main: { name: "main", frontends: { http: { binds: [{ port: owner.port }], defaultBackend: "web" } } },
  };
  const declare = (on: HostedStack, mode: string, more: object = {}) =>
    on.declare({ host: { directory: owner.host, socket: owner.socket, mode }, ...more });
  await declare(owner, "0660", { edges });
  succeeded(await owner.stack.up());
  const { pid } = await owner.client.about();
  const master = async () => (await owner.client.edge("main"))?.observed.master;
  const haproxy = await master();
  succeeded(await owner.stack.run("stack", "rm", "dev", "--force", "--yes", "--non-interactive"));

  const refusal = async (subject: RegExp) => {
    const outcome = await other.stack.up();
    assert.notEqual(outcome.exit, 0);
    const text = outputOf(outcome).replaceAll(/\s+/g, " ");
    assert.match(text, subject);
    return /run "sluice ([^"]+)" on the agent's host/.exec(text)?.[1]?.split(" ") ?? assert.fail(text);
  };
  await declare(other, "0660", { edges });
  await refusal(/edge\/main belongs to stack dev of project test /);
  await declare(other, "0600", { edges });
  const command = await refusal(
    /the agent of \S+ belongs to stack dev of project test .*, which declares another mode/,
  );

  const nobody = await sluice(["agent", "disown", "test/prod", "--socket", owner.socket]);
  assert.deepEqual([nobody.code, nobody.stdout], [1, "nothing here belongs to stack test/prod\n"]);
  assert.equal((await sluice(["agent", "disown", "dev", "--socket", owner.socket])).code, 2);
  const freed = await sluice([...command, "--socket", owner.socket, "--json"]);
  assert.equal(freed.code, 0, freed.stderr);
  assert.deepEqual(JSON.parse(freed.stdout), { stack: "test/dev", released: ["agent", "edge/main"] });
  assert.equal((await owner.client.about()).pid, pid);

  succeeded(await other.stack.up());
  assert.equal((await owner.client.about()).options.mode, "0600");
  assert.equal(await master(), haproxy);
  const { declarers = {} } = await owner.client.about();
  assert.deepEqual(
    Object.values(declarers).map((urn) => urn.split("::")[0]),
    ["urn:pulumi:other"],
  );
});

test("pulumi state move makes another stack the one that says what the agent's options are", async (t) => {
  const owner = await HostedStack.create(t);
  const { stack } = owner;
  const quietly = ["--non-interactive", "--color", "never"];
  const declare = (mode: string) => owner.declare({ host: { directory: owner.host, socket: owner.socket, mode } });
  const mode = async () => (await owner.client.about()).options.mode;
  await declare("0660");
  succeeded(await stack.up());
  const [agent] = await owner.recorded("Agent");
  succeeded(await stack.run("stack", "init", "moved", "--no-select", ...quietly));
  const moved = ["--source", "dev", "--dest", "moved", "--yes", "--include-parents", ...quietly];
  succeeded(await stack.run("state", "move", ...moved, agent?.urn ?? ""));
  await declare("0600");
  succeeded(await stack.run("up", "--stack", "moved", "--yes", "--skip-preview", ...quietly));
  assert.equal(await mode(), "0600");

  await declare("0660");
  const refused = await stack.up();
  assert.notEqual(refused.exit, 0);
  assert.match(outputOf(refused).replaceAll(/\s+/g, " "), /belongs to stack moved of project test .*another mode/);
  assert.equal(await mode(), "0600");
});
