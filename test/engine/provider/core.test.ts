import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { after, before, type TestContext } from "node:test";
import { until } from "../../support/until";
import { stepsOf, Workspace } from "../support/engine";
import { buildToyProvider, TOY_PROGRAM } from "../support/toy";

const TYPE = "toy:index:Toy";
const SECRET = "hunter2-hunter2";

let provider: ReturnType<typeof buildToyProvider>;
before(() => {
  provider = buildToyProvider();
});
after(() => provider.remove());

async function workspace(t: TestContext) {
  const stack = await Workspace.create({ providers: { toy: provider.folder }, files: { "main.cjs": TOY_PROGRAM } });
  t.after(() => stack.close());
  const file = path.join(stack.folder, "reality.json");
  return {
    stack,
    file,
    trace: () => (existsSync(`${file}.trace`) ? readFileSync(`${file}.trace`, "utf8").trim().split("\n") : []),
    reality: () => JSON.parse(readFileSync(file, "utf8")),
    declare: (args: object) =>
      stack.write("args.json", JSON.stringify({ file, weight: 10, servers: ["web", "b"], token: SECRET, ...args })),
    recorded: async () => {
      const { resources, pendingOperations } = await stack.state();
      return { toy: resources.find(({ type }) => type === TYPE), pendingOperations };
    },
  };
}

test("a preview reads reality, shows what was changed by hand, and an update mends it", async (t) => {
  const { stack, file, reality, declare } = await workspace(t);
  await declare({});
  assert.equal((await stack.up()).exit, 0);
  writeFileSync(file, JSON.stringify({ weight: 77, servers: { "web#0": "maint", "b#0": "ready" } }));

  const drift = await stack.preview("--diff");
  assert.equal(drift.exit, 0);
  assert.match(drift.stdout, /~ weight: 77 => 10/);
  assert.match(drift.stdout, /~ live {2}: {\n\s+~ servers: {\n\s+~ web#0: "maint" => "ready"\n/);
  assert.deepEqual(
    stepsOf(drift, TYPE).map(({ op }) => op),
    ["refresh", "update"],
  );
  assert.match((await stack.up()).stdout, /updated .*\[diff: ~live,weight\]/);
  assert.deepEqual(reality(), { weight: 10, servers: { "web#0": "ready", "b#0": "ready" } });
  assert.match((await stack.preview()).stdout, /2 unchanged/);
});

test("a value that a preview does not know is shown as that", async (t) => {
  const { stack, declare } = await workspace(t);
  await declare({ weight: "later" });
  const create = await stack.preview("--diff");
  assert.equal(create.exit, 0);
  assert.match(create.stdout, /weight : \[unknown\]/);
  await declare({});
  await stack.up();
  await declare({ weight: "later" });
  assert.match((await stack.preview("--diff")).stdout, /~ weight: 10 => \[unknown\]/);
});

test("bad input fails the preview with every failure at once", async (t) => {
  const { stack, declare } = await workspace(t);
  await declare({ weight: 300, servers: ["a", ""] });
  const { exit, stdout } = await stack.preview();
  assert.notEqual(exit, 0);
  assert.match(stdout, /Toy resource 'web' has a problem: weight: 300 is above 256/);
  assert.match(stdout, /Toy resource 'web' has a problem: servers\[1\]: a server needs a name/);
});

test("a failed update says why, hides secrets, and leaves the old state recorded", async (t) => {
  const { stack, declare, recorded } = await workspace(t);
  await declare({});
  await stack.up();
  await declare({ behave: "fail", weight: 12 });
  const failed = await stack.up();
  assert.notEqual(failed.exit, 0);
  assert.match(failed.stdout, /error: web refused \[secret\]\n +line two\n +line three\n/);
  assert.match(failed.stdout, /warning: about to fail with \[secret\]/);
  const { toy, pendingOperations } = await recorded();
  assert.deepEqual([toy?.outputs?.weight, toy?.inputs?.weight, toy?.inputs?.behave], [10, 10, undefined]);
  assert.deepEqual(pendingOperations, []);
  assert.ok(!(failed.stdout + failed.stderr + JSON.stringify([failed.events, toy])).includes(SECRET));
});

test("Ctrl-C lets the operation in flight undo, after its progress was shown", async (t) => {
  const { stack, trace, declare, recorded } = await workspace(t);
  await declare({});
  await stack.up();
  await declare({ behave: "slow" });
  const up = stack.start("up");
  await until("progress shows", () => /updating .* step \d+/.test(up.output()));
  up.signal("SIGINT");
  const { exit, stdout } = await up.finished;
  assert.notEqual(exit, 0);
  assert.match(stdout, /error: cancelled/);
  assert.deepEqual(trace(), ["started", "told: cancelled", "undone"]);
  assert.deepEqual((await recorded()).pendingOperations, []);
});

test("when the engine is killed, the operation in flight undoes, and the next update works after a cancel", async (t) => {
  const { stack, trace, reality, declare } = await workspace(t);
  await declare({});
  await stack.up();
  await declare({ behave: "slow" });
  const up = stack.start("up");
  await until("the update runs", () => trace().includes("started"));
  up.signal("SIGKILL");
  await until("the provider has noticed", () => trace().length > 1);
  await until("it has undone", () => trace().includes("undone"));
  assert.equal(trace()[1], "told: the engine died");
  await up.finished;
  await declare({ weight: 11 });
  assert.match((await stack.up()).stderr, /locked by 1 lock/);
  assert.equal((await stack.cancel()).exit, 0);
  assert.equal((await stack.up()).exit, 0);
  assert.equal(reality().weight, 11);
  assert.equal((await stack.destroy()).exit, 0);
});
