import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import type { StepInput } from "../../../src/model/protocol/transaction";
import { startTestAgent } from "../../support/agent";
import { freePorts, freeRange } from "../../support/ports";
import { change, OWNER } from "../../support/transaction";
import { until } from "../../support/until";
import { type AppOptions, edgeStep, releaseFolder, startStep } from "../support/pool";
import { existingApp } from "./existing-app";

/** A worker that notes when it runs, and how many of its kind do. */
const WORKER = `
const { readdirSync, readFileSync, writeFileSync } = require("node:fs");
const alive = readdirSync("/proc").filter((pid) => {
  try { return readFileSync("/proc/" + pid + "/environ", "latin1").includes("OLD_WORLD=") && readFileSync("/proc/" + pid + "/stat", "latin1").split(") ")[1][0] !== "Z"; } catch { return false; }
});
writeFileSync(process.env.SEEN, JSON.stringify(alive.filter((pid) => pid === process.env.OLD_PID)));
setInterval(() => undefined, 1000);
`;

test("an old worker ends just before a pool's singleton starts, and runs again where the change is undone", async (t) => {
  const old = await existingApp(t);
  const pid = await old.start(old.app("none"));
  const { client, directory } = await startTestAgent(t);
  const port = await freePorts(1);
  await change(client, "edge/main", [edgeStep(port)]);
  const options: AppOptions = { path: await releaseFolder(directory), ports: await freeRange(4), release: "v1" };
  const seen = join(directory, "seen.json");
  const start = startStep(options) as Extract<StepInput, { verb: "pool.start" }>;
  start.spec.takeover = [{ command: old.app("none") }];
  start.spec.processes.worker = {
    policy: "singleton",
    command: [process.execPath, "-e", WORKER],
    env: { OLD_PID: String(pid), SEEN: seen },
  };
  assert.match(
    (await client.plan(start)).takeover?.[0] ?? "",
    new RegExp(`^takes over command .*: process ${pid} .* \\(SIGTERM\\); it ends just before its singletons start$`),
  );

  const { id } = await client.begin({ target: "pool/web", owner: OWNER, leaseMs: 60_000 });
  await client.step(id, start, () => undefined);
  await client.step(id, { verb: "pool.switch", pool: "web" }, () => undefined);
  assert.deepEqual(await old.running(), [pid]);
  const messages: string[] = [];
  await client.step(id, { verb: "pool.follow", pool: "web" }, ({ message }) => messages.push(message));
  assert.deepEqual(await old.running(), []);
  assert.ok(
    messages.some((message) => /^command .* was taken over: process \d+ .* gave way within \d+ ms$/.test(message)),
  );
  // The new worker has never seen the old one.
  const alone = () => JSON.parse(readFileSync(seen, "utf8")) as string[];
  assert.deepEqual(await until("the new worker to have looked", alone), []);
  await client.abort(id, "test");
  const [again] = await until("the old worker to run again", async () => {
    const pids = await old.running();
    return pids.length > 0 ? pids : undefined;
  });
  assert.notEqual(again, pid);
  assert.equal(await client.pool("web"), undefined);

  await change(client, "pool/web", [start, { verb: "pool.switch", pool: "web" }, { verb: "pool.follow", pool: "web" }]);
  assert.deepEqual(await old.running(), []);
  assert.deepEqual((await client.pool("web"))?.live.takeover, {
    [`command ${old.app("none")[0]} ${JSON.stringify(old.app("none")[1])} none`]: "taken over",
  });
});
