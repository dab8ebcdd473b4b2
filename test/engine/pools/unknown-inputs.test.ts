import assert from "node:assert/strict";
import test from "node:test";
import { type Outcome, stepsOf } from "../support/engine";
import { HostedStack } from "../support/hosted";
import { buildToyProvider } from "../support/toy";

const PLAN = "plan.json";

/** A value of another resource, which a preview does not know where it changes. */
const made = (value: unknown) => ({ $made: value });

/**
 * Operations of the engine on the resources of a type, reads left out; the same step again if an update follows its
 * preview.
 */
function operations(outcome: Outcome, type: string): string[] {
  return stepsOf(outcome, `sluice:index:${type}`)
    .map(({ op }) => op)
    .filter((op) => op !== "refresh");
}

/** The paths that a preview shows as changed. */
function changed(outcome: Outcome, type: string): string[] {
  const step = stepsOf(outcome, `sluice:index:${type}`).find(({ op }) => op === "update");
  return Object.keys(step?.detailedDiff ?? {}).toSorted();
}

test("a promotion whose inputs come from another resource is an update with all its defaults, and keeps to its plan", async (t) => {
  const toy = buildToyProvider();
  t.after(() => toy.remove());
  const hosted = await HostedStack.create(t, {
    providers: { toy: toy.folder },
    env: { PULUMI_EXPERIMENTAL: "true" },
  });
  const { stack, port } = hosted;
  const declare = (changes: object, web: object = {}) =>
    hosted.declare({ edges: { main: hosted.edge() }, pools: { web: hosted.pool("v1", changes, web) } });
  const place = (id: string) => hosted.release(id).path;

  /** Previews, and keeps to that: the update does what was planned, or less, and replaces nothing. */
  const follow = async (expected: string) => {
    const preview = await stack.preview("--diff", "--save-plan", PLAN);
    const { stdout } = preview;
    assert.equal(preview.exit, 0, stdout + preview.stderr);
    assert.deepEqual(operations(preview, "Pool"), [expected], stdout);
    const up = await stack.up("--plan", PLAN);
    assert.equal(up.exit, 0, up.stdout + up.stderr);
    assert.deepEqual(operations(up, "Pool"), [expected], up.stdout);
    return { preview, text: stdout + preview.stderr };
  };

  await t.test("its path, for a new pool", async () => {
    await declare({ release: { id: "v1", path: made(place("v1")) } });
    const { text } = await follow("create");
    assert.match(
      text,
      /release\.path is not known until the update; as far as the rest tells, it\n +starts release v1: web#0\n/,
    );
    assert.equal((await hosted.ask()).release, "v1");
  });

  await t.test("its path, with all that is known of the plan", async () => {
    await declare({ release: { id: "v2", path: made(place("v2")) } });
    const { preview, text } = await follow("update");
    assert.deepEqual(changed(preview, "Pool"), ["live.release", "release.id", "release.path"]);
    assert.match(text, /promotes v1 -> v2, side by side: web#0 start beside the release that serves/);
    assert.equal((await hosted.ask()).release, "v2");
  });

  await t.test("its id and its path", async () => {
    await declare({ release: { id: made("v1"), path: made(`${place("v1")}/.`) } });
    const { preview, text } = await follow("update");
    assert.deepEqual(changed(preview, "Pool"), ["live.release", "release.id", "release.path"]);
    assert.match(text, /promotes v2 -> \(not known yet\), side by side/);
    assert.equal((await hosted.ask()).release, "v1");
  });

  const release = hosted.release("v1");

  await t.test("a value of its environment, which may be a secret", async () => {
    await declare({ release }, { env: { TOKEN: { $secret: made("hunter2-hunter2") }, B: "b" } });
    const { preview, text } = await follow("update");
    assert.deepEqual(changed(preview, "Pool"), ["processes.web.env.B", "processes.web.env.TOKEN", "release.path"]);
    assert.match(text, /starts release v1 anew, since release\.path, web changed/);
    assert.equal((await hosted.ask("/token")).text, "hunter2-hunter2");
    assert.doesNotMatch(JSON.stringify(await hosted.recorded("Pool")), /hunter2/);
  });

  await t.test("a port, and numbers of which the plan takes those before", async () => {
    await declare({ release, ports: { from: port + 1, to: made(port + 11) } }, { replicas: made(2) });
    const { preview, text } = await follow("update");
    const live = ["live.processes", "live.servers"];
    const env = ["processes.web.env.B", "processes.web.env.TOKEN"];
    assert.deepEqual(changed(preview, "Pool"), [...live, "ports.to", ...env, "processes.web.replicas"]);
    assert.match(text, /ports\.to, processes\.web\.replicas are not known until the update/);
  });

  await t.test("all of its processes", async () => {
    await declare({ release, processes: made({ web: hosted.web({ gracefulStop: "2 seconds" }) }) });
    const { preview } = await follow("update");
    assert.deepEqual(changed(preview, "Pool"), ["live.processes", "live.servers", "ports.to", "processes"]);
    assert.equal((await hosted.ask()).release, "v1");
    const after = await stack.preview();
    assert.deepEqual(operations(after, "Pool"), ["same"], after.stdout);
  });

  await t.test("how it is promoted", async () => {
    await declare({ release, strategy: made("side-by-side"), processes: { web: hosted.web() } });
    await follow("update");
  });

  await t.test("problems of what is known are told beside it, all at once", async () => {
    await declare(
      { release: { id: "v 2", path: made(place("v2")) }, drainDeadline: "soon" },
      { command: ["node", "{{prot}}", made("a word")] },
    );
    const { exit, stdout } = await stack.preview();
    assert.notEqual(exit, 0);
    for (const problem of [
      /release\.id: "v 2" is not a release id/,
      /drainDeadline: "soon" is not/,
      /command\[1\]: .*prot/,
    ])
      assert.match(stdout, problem);
  });

  await t.test("and those of every other resource", async () => {
    const api = (weight: unknown) => ({ edge: "main", servers: { a: { address: "127.0.0.1", port, weight } } });
    const db = (applied: unknown) => ({
      pools: ["web"],
      folder: place("v1"),
      apply: { command: ["true"] },
      applied,
      cwd: "/",
    });
    const declareAll = (value: (known: unknown) => unknown, count: number) =>
      hosted.declare({
        host: { directory: hosted.host, socket: hosted.socket, evidence: { count: value(count) } },
        edges: { main: hosted.edge({ maxConnections: value(1000 + count), timeouts: { client: "2 minutes" } }) },
        pools: { web: hosted.pool("v1") },
        backends: { api: api(value(count)) },
        migrations: { db: db(value([])) },
        routes: {
          all: {
            edges: ["main"],
            stable: "web",
            candidate: "api",
            stages: [{ split: "10%", window: "0 seconds" }],
            stage: value(count > 50 ? "10%" : "stable"),
          },
        },
      });
    await declareAll((known) => known, 50);
    assert.equal((await stack.up()).exit, 0);
    await declareAll(made, 60);
    const preview = await stack.preview("--diff", "--save-plan", PLAN);
    assert.equal(preview.exit, 0, preview.stdout + preview.stderr);
    const paths = {
      Agent: ["evidence.count"],
      Edge: ["maxConnections"],
      Backend: ["live.servers.a.weight", "servers.a.weight"],
      Route: ["live.splits", "stage"],
      Migrations: ["pending"],
    };
    for (const [type, expected] of Object.entries(paths)) {
      assert.deepEqual(operations(preview, type), ["update"], `${type}\n${preview.stdout}`);
      assert.deepEqual(changed(preview, type), expected, type);
    }
    const up = await stack.up("--plan", PLAN);
    assert.equal(up.exit, 0, up.stdout + up.stderr);
    const counts = up.events.flatMap(({ summaryEvent }) => (summaryEvent ? [summaryEvent.resourceChanges] : []));
    const operated = counts.flatMap((each) => Object.keys(each)).toSorted();
    // The toy is new.
    assert.deepEqual([operated, counts[0]?.create], [["create", "same", "update"], 1]);
    assert.equal((await hosted.ask()).release, "v1");
  });
});
