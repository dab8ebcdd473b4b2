import assert from "node:assert/strict";
import { copyFile, mkdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { startPoolAgent, web } from "../support/agent";
import { load } from "../support/load";

test("a release whose path is broken is left for the next one", async (t) => {
  const poolAgent = await startPoolAgent(t);
  const { directory } = poolAgent;
  const releases = join(directory, "srv");
  const breaks: [name: string, path: string, breakIt: (path: string) => Promise<void>][] = [
    ["loop", join(releases, "loop"), (path) => symlink(path, path)],
    ["parent", releases, (path) => writeFile(path, "")],
  ];
  for (const [name, broken, breakIt] of breaks) {
    const pool = await poolAgent.pool(name);
    const { path } = await poolAgent.release(name);
    await pool.promote(name, { web: web() });
    const next = { id: `${name}-2`, path: join(directory, `${name}-2`) };
    await mkdir(next.path);
    await copyFile(join(path, "app.cjs"), join(next.path, "app.cjs"));
    await rename(broken, `${broken}.away`);
    await breakIt(broken);
    const stop = load(pool.url);
    await pool.promote(name, { web: web() }, { release: next });
    assert.deepEqual((await stop()).failures, []);
    assert.equal(await pool.get(), `web#0@${next.id}`);
    assert.ok(
      poolAgent.events.some(({ message }) =>
        message.startsWith(`the folder ${path} of release ${name} is gone and can't be`),
      ),
    );
    await rm(broken);
    await rename(`${broken}.away`, broken);
  }
});
