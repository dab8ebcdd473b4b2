import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import test, { type TestContext } from "node:test";
import { commandOf, type Identity, isAlive, send } from "../../src/agent/processes/identity";
import { temporaryFolder } from "../support/agent";
import { until } from "../support/until";
import { endLeftovers, processesLeft } from "./leftovers";
import { FOLDER_VARIABLE, foldersOf, MAIN_STORY, ROOT, type StoryFolders } from "./project";

/** For what a whole demo does, on a machine where everything else runs at the same time. */
const DEADLINE = { deadlineMs: 120_000, intervalMs: 100 };

interface Started {
  npm: ChildProcess;
  output: () => string;
  /** Everything that holds its output has ended. */
  closed: Promise<unknown>;
}

function start(t: TestContext): Started {
  // In a process group of its own, as a terminal's job is.
  const npm = spawn("npm", ["run", "demo"], { cwd: ROOT, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  for (const stream of [npm.stdout, npm.stderr])
    stream.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
  t.after(() => send(-(npm.pid ?? 0), "SIGKILL"));
  return { npm, output: () => text, closed: new Promise((resolve) => npm.once("close", resolve)) };
}

/** A demo with an agent, HAProxy and apps, whose pool is up. */
async function running(t: TestContext, place: StoryFolders): Promise<Started & { demo: Identity; watchdog: Identity }> {
  const started = start(t);
  await until(
    "the demo's pool to be up",
    () => {
      if (started.npm.exitCode !== null) throw new Error(started.output());
      return /sluice:index:Pool web-pool created/.test(started.output());
    },
    DEADLINE,
  );
  return { ...started, ...(JSON.parse(readFileSync(place.lock, "utf8")) as { demo: Identity; watchdog: Identity }) };
}

async function nothingLeft(place: StoryFolders): Promise<void> {
  await until(
    "nothing of the demo to be left",
    async () => {
      const left = await Promise.all((await processesLeft(place)).map(({ pid }) => commandOf(pid)));
      if (left.length > 0) throw new Error(left.join("\n"));
      return true;
    },
    DEADLINE,
  );
}

test("a demo leaves nothing running, however it ends", async (t) => {
  const folder = await temporaryFolder(t);
  process.env[FOLDER_VARIABLE] = folder;
  const place = foldersOf(MAIN_STORY);
  t.after(async () => {
    await endLeftovers(place);
    await rm(place.hosts, { recursive: true, force: true });
  });
  const tells = (output: string) =>
    assert.ok(output.includes(place.output), `it does not say where its output is: ${output}`);

  await t.test("by Ctrl-C", async (t) => {
    const { npm, output, closed } = await running(t, place);
    assert.ok((await processesLeft(place)).length > 5);
    const other = start(t);
    await other.closed;
    assert.match(other.output(), /another demo runs in .* \(process \d+\): wait for it, or end it/);
    send(-(npm.pid ?? 0), "SIGINT");
    await closed;
    await nothingLeft(place);
    tells(output());
    const { ok, problem } = JSON.parse(readFileSync(place.report, "utf8")) as Record<string, unknown>;
    assert.equal(ok, false);
    assert.match(String(problem), /^step \d .* was interrupted by SIGINT$/);
  });

  for (const signal of ["SIGTERM", "SIGKILL"] as const)
    await t.test(`by ${signal} to npm`, async (t) => {
      const { npm, demo, watchdog, output, closed } = await running(t, place);
      npm.kill(signal);
      await until("the demo to end", () => !isAlive(demo) && !isAlive(watchdog), DEADLINE);
      await nothingLeft(place);
      await closed;
      tells(output());
    });

  await t.test("by SIGKILL to its own process", async (t) => {
    const { demo, watchdog, output, closed } = await running(t, place);
    send(demo.pid, "SIGKILL");
    await until("the watchdog to end", () => !isAlive(watchdog), DEADLINE);
    await nothingLeft(place);
    await closed;
    tells(output());
  });

  await t.test("by SIGKILL to all of it: then the next one ends what is left", async (t) => {
    const { demo, watchdog } = await running(t, place);
    for (const { pid } of [watchdog, demo]) send(pid, "SIGKILL");
    await until("them to be gone", () => !isAlive(demo) && !isAlive(watchdog), DEADLINE);
    const left = await processesLeft(place);
    assert.ok(left.length > 5, "something should be left");
    const { npm, output, closed } = await running(t, place);
    assert.match(output(), /ended \d+ processes that an interrupted demo had left/);
    assert.deepEqual(left.filter(isAlive), []);
    npm.kill("SIGTERM");
    await closed;
    await nothingLeft(place);
  });
});
