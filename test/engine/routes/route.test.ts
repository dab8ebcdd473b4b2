import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import test, { type TestContext } from "node:test";
import type { EvidenceRecord } from "../../../src/model/evidence/record";
import { until } from "../../support/until";
import { HostedStack } from "../support/hosted";

const ROUTE = "route/api";

/** A server that answers its name as the release. */
async function server(t: TestContext, name: string): Promise<object> {
  const http = createServer((_request, response) => response.setHeader("x-release", name).end());
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    http.closeAllConnections();
    http.close();
  });
  return { servers: { one: { address: "127.0.0.1", port: (http.address() as AddressInfo).port } } };
}

function stages(window: string, windows: Record<string, string> = {}) {
  return ["1%", "10%", "100%"].map((split) => ({ split, window: windows[split] ?? window }));
}

/** The stages that a rollout has entered. */
function stagesOf(record: EvidenceRecord | undefined): string[] {
  const stages = record?.marks.filter(({ kind }) => kind === "stage") ?? [];
  return stages.map(({ text }) => text.split(",")[0] ?? "");
}

/** Makes a folder a repository; returns its commit. */
function commitAll(cwd: string): string {
  const git = (...args: string[]) =>
    execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@t", ...args], {
      cwd,
      encoding: "utf8",
      stdio: "pipe",
    });
  git("init", "-q");
  git("commit", "-q", "--allow-empty", "-m", "program");
  return git("rev-parse", "HEAD").trim();
}

/** Splits in the order in which they were wanted, from the agent's events. */
async function splitsSince(hosted: HostedStack, from: string): Promise<number[]> {
  const stop = new AbortController();
  const splits: number[] = [];
  const end = `the list since ${from}`;
  const mark = hosted.client.begin({ target: "edge/none", owner: { who: end, why: end, pid: 1 }, leaseMs: 60_000 });
  for await (const { at, message } of hosted.client.events(stop.signal)) {
    if (message.startsWith(end)) break;
    const split = /^route api: ([\d.]+)% to the candidate$/.exec(message)?.[1];
    if (at >= from && split !== undefined) splits.push(Number(split));
  }
  stop.abort();
  await hosted.client.abort((await mark).id, end);
  return splits;
}

test("a route goes up through every stage, down at once, and survives changes by others", async (t) => {
  const hosted = await HostedStack.create(t);
  const { stack, client } = hosted;
  const revision = commitAll(stack.folder);
  const backends = {
    blue: { edge: "main", ...(await server(t, "blue")) },
    green: { edge: "main", ...(await server(t, "green")) },
  };
  const declare = (stage: string, changes: object = {}) =>
    hosted.declare({
      edges: { main: hosted.edge({ frontends: { http: { binds: [{ port: hosted.port }], defaultBackend: "blue" } } }) },
      backends,
      routes: {
        api: {
          edges: ["main"],
          stable: "blue",
          candidate: "green",
          stage,
          stages: stages("300 milliseconds"),
          ...changes,
        },
      },
    });
  const split = async () => (await client.route("api"))?.splits.main;
  const now = () => new Date().toISOString();

  await t.test("it begins at the stable side", async () => {
    await declare("stable");
    const { exit, stdout } = await stack.up();
    assert.equal(exit, 0, stdout);
    assert.equal(await split(), 0);
    assert.equal((await hosted.ask()).release, "blue");
  });

  await t.test("the preview prints the plan, and the update carries it out", async () => {
    await declare("100%");
    const preview = await stack.preview("--diff");
    const output = preview.stdout + preview.stderr;
    assert.match(output, /the candidate goes from 0% to 100% of the requests in 3 stages, at least 900 ms in all:/);
    assert.match(output, / {2}10% for 300 milliseconds: no gates/);
    assert.match(preview.stdout, /~ main: "0%" => "100%"/);
    assert.equal(await split(), 0);
    const from = now();
    const { exit, stdout } = await stack.up();
    assert.equal(exit, 0, stdout);
    assert.deepEqual(await splitsSince(hosted, from), [1, 10, 100]);
    assert.equal((await hosted.ask()).release, "green");
    assert.equal((await client.status()).transactions.length, 0);
  });

  await t.test("its evidence names the stack, the revision of the program's folder, and each stage", async () => {
    const rollout = (await client.evidence(10)).find(({ target }) => target === ROUTE);
    assert.deepEqual(
      [rollout?.target, rollout?.verdict, rollout?.summary],
      [ROUTE, "committed", { from: "0%", to: "100%" }],
    );
    const record = (await client.evidenceOf(rollout?.id ?? ""))?.record;
    const { stack: name, type, git } = record?.program ?? {};
    assert.deepEqual([name, type, git?.revision], ["dev", "sluice:index:Route", revision]);
    assert.deepEqual(stagesOf(record), ["stage 1%", "stage 10%", "stage 100%"]);
  });

  await t.test("down is one step, without any window", async () => {
    await declare("1%", { stages: stages("1 hour") });
    const preview = await stack.preview();
    assert.match(preview.stdout + preview.stderr, /goes from 100% to 1% of the requests at once, without gates/);
    const from = now();
    assert.equal((await stack.up()).exit, 0);
    assert.deepEqual(await splitsSince(hosted, from), [1]);
    assert.equal(await split(), 100);
  });

  await t.test("what somebody set by hand shows, and is mended", async () => {
    await hosted.haproxy("set map splits.map api/blue/green 7500");
    const preview = await stack.preview("--diff");
    assert.match(preview.stdout, /~ main: "75%" => "1%"/);
    assert.equal((await stack.up()).exit, 0);
    assert.equal(await split(), 100);
  });

  await t.test("a mirror is part of it: its share too is what HAProxy has", async () => {
    await declare("1%", { mirror: { to: "green", share: "10%" } });
    const { exit, stdout } = await stack.up();
    assert.equal(exit, 0, stdout);
    assert.deepEqual((await client.route("api"))?.mirrors, { main: 1000 });
    assert.doesNotMatch((await stack.preview("--diff")).stdout, /mirror/);
    await hosted.haproxy("set map splits.map mirror:api/green 5000");
    assert.match((await stack.preview("--diff")).stdout, /~ main: "50%" => "10%"/);
    assert.equal((await stack.up()).exit, 0);
    assert.deepEqual((await client.route("api"))?.mirrors, { main: 1000 });
  });

  await t.test(
    "a rollout is refused while another one runs; the deployer's death undoes its within the lease",
    async () => {
      await declare("100%", { stages: stages("300 milliseconds", { "100%": "1 hour" }) });
      const up = stack.start("up");
      await until("the rollout is at 100%", async () => (await split()) === 10_000, { deadlineMs: 60_000 });
      const owner = { who: "ana@build-7", why: "by hand", pid: process.pid };
      await assert.rejects(
        client.begin({ target: ROUTE, owner }),
        /route\/api is held: a transaction of .* runs since/,
      );
      const transaction = (await client.status()).transactions.find(({ target }) => target === ROUTE);
      // The split is read back before the deployer tells of its stage.
      await until("the last stage is told", async () => {
        const record = (await client.evidenceOf(transaction?.id ?? ""))?.record;
        return record !== undefined && stagesOf(record).includes("stage 100%");
      });
      process.kill(transaction?.owner.pid ?? 0, "SIGKILL");
      await until("the split is back", async () => (await split()) === 100);
      // Nothing of what the deployer knew is lost with it.
      const left = await until("the evidence of its end", async () => {
        const record = (await client.evidenceOf(transaction?.id ?? ""))?.record;
        return record?.verdict === "undone" ? record : undefined;
      });
      assert.equal(left.ending, "lease");
      assert.match(left.reason ?? "", /was silent for 5000 ms$/);
      assert.deepEqual(stagesOf(left), ["stage 10%", "stage 100%"]);
      assert.equal(left.program?.git?.revision, revision);
      up.signal("SIGKILL");
      await up.finished;
      await stack.cancel();
    },
  );

  await t.test("bad input is refused at the preview, all of it at once", async () => {
    await declare("5%", {
      stages: [{ split: "10%" }, { split: "1%" }, { split: "10 percent" }, { split: "20%", window: "-1 seconds" }],
      match: { host: "a b", pathPrefix: "x" },
    });
    const { exit, stdout } = await stack.preview();
    assert.notEqual(exit, 0);
    for (const said of [/stages\[2\]\.split: "10 percent" is not a share/, /stages\[3\]\.window: /, /match\.host: /])
      assert.match(stdout, said);
    await declare("1%", { mirror: { to: "gry", share: "1%" } });
    const unknown = await stack.preview();
    assert.match(
      unknown.stdout + unknown.stderr,
      /warning: mirror\.to: backend gry is not on edge main \(it has blue, green\): declare it, and make this depend on it; the update is refused/,
    );
    await declare("5%");
    assert.match(
      (await stack.preview()).stdout,
      /stage: "5%" is not a stage: use one of "stable", "1%", "10%", "100%"/,
    );
  });

  await t.test("its backends stay while it leads there, and a destroy removes all of it", async () => {
    const { id } = await client.begin({
      target: "backend/main/blue",
      owner: { who: "ana", why: "x", pid: 1 },
      leaseMs: 60_000,
    });
    const remove = client.step(id, { verb: "backend.remove", edge: "main", backend: "blue" }, () => undefined);
    await assert.rejects(remove, /backend blue of edge main still takes requests of route api/);
    await client.abort(id, "refused");
    await declare("stable");
    const { exit, stdout } = await stack.destroy();
    assert.equal(exit, 0, stdout);
  });
});
