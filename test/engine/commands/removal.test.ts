import assert from "node:assert/strict";
import test from "node:test";
import { sendRequests } from "../../support/requests";
import { KINDS, Whole } from "./support/whole";

const WEB = KINDS["a pool side by side"];
const NOTHING = new Set<string>();

test("a preview says in words what a removal means, and a removal touches nothing else", async (t) => {
  const whole = await Whole.start(t);
  const { stack } = whole;
  const [, ...others] = whole.ports;
  const load = sendRequests(t, others, { atOnce: 3, pauseMs: 15 });
  t.after(() => load.stop());
  const says = [
    /ends route api: its traffic \(100% of it to the candidate\) goes to the frontends' own backends at once/,
    /stops node-a: 1 process, traffic goes to the other servers of nodes/,
    /stops tried: 2 processes, traffic ends/,
    /stops web: 2 processes, traffic ends/,
    /ends backend plain of edge main: requests to it are then answered with 503/,
    /stops edge main: its HAProxy, traffic to 127\.0\.0\.1:\d+(, 127\.0\.0\.1:\d+){4} ends/,
    /stops the agent of .*: nothing on its host is supervised any more/,
  ];
  const warningsOf = ({ stdout, stderr }: { stdout: string; stderr: string }) =>
    new Set(`${stdout}${stderr}`.split("\n").flatMap((line) => /(?<=warning: )(stops|ends) .*/.exec(line)?.[0] ?? []));

  const previewOnly = ["--preview-only", "--stack", "dev", "--non-interactive", "--color", "never"];
  const destroying = (...args: string[]) => stack.run("destroy", ...args, ...previewOnly);
  const refresh = () => stack.run("refresh", ...previewOnly);

  await t.test("of a whole stack that is destroyed", async () => {
    const preview = await whole.must(destroying());
    for (const pattern of says) assert.match(preview.stdout, pattern);
  });

  await t.test("of one resource that is destroyed", async () => {
    const preview = await whole.must(destroying("--target", whole.urn(KINDS["a pool side by side"])));
    assert.deepEqual(warningsOf(preview), new Set(["stops web: 2 processes, traffic ends"]));
  });

  await t.test("nothing of a refresh, nor of a preview that removes nothing, whatever name it gives", async () => {
    assert.deepEqual(warningsOf(await whole.must(refresh())), NOTHING);
    assert.deepEqual(warningsOf(await whole.must(stack.preview())), NOTHING);
    await whole.declare({ web: { name: "renamed", options: { aliases: [{ name: "web" }] } } });
    assert.deepEqual(warningsOf(await whole.must(stack.preview())), NOTHING);
  });

  await t.test("nothing of a preview that does not come to its end", async () => {
    await whole.declare({ edge: { args: { maxConnections: -1 } } });
    const preview = await stack.preview();
    assert.notEqual(preview.exit, 0);
    assert.deepEqual(warningsOf(preview), NOTHING);
  });

  await t.test("of a resource that the program does not declare any more", async () => {
    await whole.declare({ web: { absent: true } });
    for (const args of [[], ["--diff"]]) {
      const preview = await whole.must(stack.preview(...args));
      assert.deepEqual(warningsOf(preview), new Set(["stops web: 2 processes, traffic ends"]));
    }
  });

  /** Its edge's worker is another one after that, by a hitless reload. */
  const rest = async () => {
    const { web, haproxy: _worker, ...others } = (await whole.reality()).pids;
    return { web: Object.keys(web as object).length, others };
  };

  await t.test("destroy --target ends that one alone", async () => {
    await whole.declare();
    const { others } = await rest();
    await whole.must(stack.destroy("--target", whole.urn(KINDS["a pool side by side"])));
    assert.deepEqual(await rest(), { web: 0, others });
    assert.deepEqual(load.seen().failures, []);
  });

  await t.test("and an update brings it back", async () => {
    const { others } = await rest();
    await whole.must(stack.up());
    assert.deepEqual(await rest(), { web: 2, others });
  });

  await t.test("state move to another stack, and back, moves the record alone", async () => {
    const { pids } = await whole.reality();
    const owner = async () => (await whole.clients.agent.pool("web"))?.owner?.urn;
    const quietly = ["--non-interactive", "--color", "never"];
    const move = (source: string, dest: string) =>
      whole.must(
        stack.run(
          "state",
          "move",
          "--source",
          source,
          "--dest",
          dest,
          "--yes",
          ...quietly,
          whole.urn(WEB, "web", "test", source),
        ),
      );
    await whole.must(stack.run("stack", "init", "other", "--no-select", ...quietly));
    await move("dev", "other");
    await whole.declare({ web: { absent: true } });
    await whole.must(stack.up("--expect-no-changes"));
    const all = [
      ...Object.values(KINDS).map(({ key }) => key),
      "nodes-agent",
      "stable",
      "candidate",
      "nodes",
      "node-b",
    ];
    const absent = all.filter((key) => key !== "web").map((key) => [key, { absent: true }]);
    await whole.declare(Object.fromEntries(absent));
    await whole.must(stack.run("up", "--stack", "other", "--yes", "--skip-preview", ...quietly));
    assert.equal(await owner(), whole.urn(WEB, "web", "test", "other"));
    await move("other", "dev");
    await whole.declare();
    await whole.must(stack.up());
    assert.equal(await owner(), whole.urn(WEB));
    assert.deepEqual((await whole.reality()).pids, pids);
    assert.deepEqual((await load.stop()).failures, []);
  });
});
