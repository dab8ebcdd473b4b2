import assert from "node:assert/strict";
import { appendFile, mkdir, readdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { poolResource } from "../../../src/provider/resources/pool";
import type { PoolInputs } from "../../../src/provider/resources/pool-inputs";
import type { Context } from "../../../src/provider/server";
import { edgeStep, promote, releaseFolder, startStep } from "../../agent/support/pool";
import { startTestAgent } from "../../support/agent";
import { freeRange } from "../../support/ports";
import { change } from "../../support/transaction";
import { until } from "../../support/until";

test("the preview of a pool speaks of what its agent has, whatever is recorded", async (t) => {
  const { client, directory, socket } = await startTestAgent(t);
  const { from, to } = await freeRange(6);
  const path = await releaseFolder(directory);
  const infos: string[] = [];
  const warned: string[] = [];
  const silent = () => undefined;
  const context: Context = {
    urn: "urn:pulumi:dev::test::sluice:index:Pool::web",
    name: "web",
    type: poolResource.type,
    preview: true,
    signal: new AbortController().signal,
    log: {
      debug: silent,
      info: (text) => infos.push(text),
      warn: (text) => warned.push(text),
      error: silent,
      progress: silent,
    },
    secrets: [],
  };
  const options = (release: string, env = {}) => ({ path, ports: { from: from + 1, to }, release, env });
  const checked = async (release: string, env = {}, { olds, at = path }: { olds?: PoolInputs; at?: string } = {}) => {
    const { spec } = startStep({ ...options(release, env), path: at });
    const news = { ...spec, agent: { directory, socket }, name: "web" };
    const { inputs, failures } = await poolResource.check(context, { olds, news });
    assert.deepEqual(failures, []);
    return inputs as PoolInputs;
  };
  /** First line of the preview of an update, and the kind of change for policies. */
  const preview = async (olds: PoolInputs, release: string, env = {}, at = path) => {
    infos.length = 0;
    const news = await checked(release, env, { olds, at });
    await poolResource.update(context, { id: "web", olds: { ...olds, live: {} } as never, oldInputs: olds, news });
    return [news.change.kind, news.change.from, infos[0]?.split("\n")[0]];
  };
  await change(client, "edge/main", [edgeStep(from)]);
  await promote(client, options("v1"));
  const recorded = await checked("v1");
  const older: PoolInputs = { ...recorded, release: { ...recorded.release, path: "/srv/older" } };

  // Another deployer moves on.
  await promote(client, options("v2", { A: "1" }));
  assert.deepEqual(await preview(recorded, "v2", { A: "1" }), ["none", "v2", "applied live: no process is restarted"]);
  assert.deepEqual(await preview(recorded, "v2", { A: "2" }), [
    "restart",
    "v2",
    "starts release v2 anew, since web changed, side by side: web#0 start beside the release that serves",
  ]);
  for (const olds of [recorded, older])
    assert.deepEqual(await preview(olds, "v1"), [
      "rollback",
      "v2",
      "promotes v2 -> v1, side by side: web#0 start beside the release that serves",
    ]);
  assert.deepEqual(await preview(recorded, "v3", { A: "1" }), [
    "promotion",
    "v2",
    "promotes v2 -> v3, side by side: web#0 start beside the release that serves",
  ]);

  // The folder of a release that served is edited in place.
  const other = await releaseFolder(join(directory, "other"));
  await promote(client, { ...options("v4"), path: other });
  await client.settle("web");
  assert.deepEqual(warned, []);
  const digests = join(directory, "releases", "web");
  const isKnown = async () => (await readdir(digests)).filter((name) => name.endsWith(".json")).length === 3;
  await until("the digests of v4 to be known", isKnown);
  await appendFile(join(path, "app.cjs"), "// by hand\n");
  await preview(recorded, "v2", { A: "1" });
  assert.match(warned.join("\n"), /^release v2 in .* is not as it was when it served: app\.cjs changed or went since;/);
  const events: string[] = [];
  await promote(client, options("v2", { A: "1" }));
  for await (const { message } of client.events(undefined, { last: 100, follow: "false" })) events.push(message);
  assert.ok(events.some((message) => message.includes("release v2 in") && message.includes("is not as it was")));

  // The path of the release that serves is broken: gone, a loop, a file where a folder was.
  const above = join(directory, "above");
  const broken = join(above, "release");
  await mkdir(above);
  await promote(client, { ...options("v5"), path: await releaseFolder(above) });
  const serving = await checked("v5", {}, { at: broken });
  const breaks: [at: string, breakIt: () => Promise<void>][] = [
    [broken, async () => undefined],
    [broken, () => symlink(broken, broken)],
    [above, () => writeFile(above, "")],
  ];
  for (const [at, breakIt] of breaks) {
    await rename(at, `${at}.away`);
    await breakIt();
    warned.length = 0;
    assert.deepEqual(await preview(serving, "v4", {}, other), [
      "rollback",
      "v5",
      "promotes v5 -> v4, side by side: web#0 start beside the release that serves",
    ]);
    assert.deepEqual(warned, [
      `the folder ${broken} of release v5, which serves pool web, is gone or its path is broken: an undo keeps its processes, but none of them can start again until you put it back`,
    ]);
    await rm(at, { force: true });
    await rename(`${at}.away`, at);
  }
});
