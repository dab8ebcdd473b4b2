import assert from "node:assert/strict";
import { chmod, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { Events } from "../../../src/agent/events/events";
import { RetainedReleases } from "../../../src/agent/releases/retained-releases";
import type { PoolState } from "../../../src/model/pool/pool-state";
import { temporaryFolder } from "../../support/agent";

async function setUp(t: test.TestContext) {
  const folder = await temporaryFolder(t);
  const events = new Events(folder);
  t.after(() => events.flush());
  const messages: string[] = [];
  events.follow(({ message }) => messages.push(message));
  const release = async (id: string) => {
    const path = join(folder, "srv", id);
    await mkdir(join(path, "bin"), { recursive: true });
    await writeFile(join(path, "bin", "server"), `#!/bin/sh\necho ${id}\n`);
    await chmod(join(path, "bin", "server"), 0o755);
    await symlink("bin/server", join(path, "current"));
    return { id, path };
  };
  return { folder, kept: new RetainedReleases(folder, events), messages, release };
}

type PoolSide = { id: string; path: string };

/** A pool as far as kept releases look at it. */
function pool(current: [number, PoolSide], ...retained: [number, PoolSide][]): PoolState {
  return {
    current: { number: current[0], release: current[1], processes: {}, ports: {} },
    retained: retained.map(([generation, release]) => ({ generation, release, retiredAt: new Date().toISOString() })),
  } as unknown as PoolState;
}

test("a retained release whose folder was removed is put back whole: content, modes and symbolic links", async (t) => {
  const { kept, release, messages } = await setUp(t);
  const [v1, v2] = [await release("v1"), await release("v2")];
  await kept.reconcile({ web: pool([1, v1]) });
  const state = pool([2, v2], [1, v1]);
  await kept.reconcile({ web: state });
  await rm(v1.path, { recursive: true });
  assert.equal(await kept.has("web", state, v1), true);
  await kept.restore("web", state, v1);
  assert.equal(await readFile(join(v1.path, "current"), "utf8"), "#!/bin/sh\necho v1\n");
  assert.equal((await stat(join(v1.path, "bin", "server"))).mode & 0o777, 0o755);
  assert.deepEqual(messages, [`the folder ${v1.path} of release v1 was gone: put back from what was kept`]);
});

test("a kept release takes no space of its own: its files are links", async (t) => {
  const { folder, kept, release } = await setUp(t);
  const v1 = await release("v1");
  await kept.reconcile({ web: pool([1, v1]) });
  const [original, copy] = await Promise.all([
    stat(join(v1.path, "bin", "server")),
    stat(join(folder, "releases", "web", "1", "bin", "server")),
  ]);
  assert.equal(copy.ino, original.ino);
});

test("a release that is there is never touched, and one that was not kept is not invented", async (t) => {
  const { kept, release } = await setUp(t);
  const [v1, v2] = [await release("v1"), await release("v2")];
  const state = pool([2, v2], [1, v1]);
  await kept.reconcile({ web: state });
  await writeFile(join(v2.path, "note"), "mine");
  await kept.restore("web", state, v2);
  assert.equal(await readFile(join(v2.path, "note"), "utf8"), "mine");
  await rm(v1.path, { recursive: true });
  assert.equal(await kept.has("web", state, v1), false);
  await kept.restore("web", state, v1);
  await assert.rejects(stat(v1.path), { code: "ENOENT" });
});

test("what no pool names any more is dropped, and so is what a kill left half made", async (t) => {
  const { folder, kept, release } = await setUp(t);
  const [v1, v2] = [await release("v1"), await release("v2")];
  await kept.reconcile({ web: pool([1, v1]), api: pool([1, v1]) });
  await mkdir(join(folder, "releases", "web", "2.partial"));
  await kept.reconcile({ web: pool([2, v2]) });
  assert.deepEqual(await readdir(join(folder, "releases", "web")), ["2", "2.json"]);
  assert.deepEqual(await readdir(join(folder, "releases")), ["web"]);
});

test("a retained release that was edited in place is told apart from one that is as it was", async (t) => {
  const { kept, release } = await setUp(t);
  const [v1, v2] = [await release("v1"), await release("v2")];
  await kept.reconcile({ web: pool([1, v1]) });
  const state = pool([2, v2], [1, v1]);
  await kept.reconcile({ web: state });
  await writeFile(join(v1.path, "cache"), "written by the app");
  assert.equal(await kept.changed("web", state, v1), undefined);
  // The same inode as the kept one.
  await writeFile(join(v1.path, "bin", "server"), "#!/bin/sh\nexec evil\n");
  const says =
    /^release v1 in .*v1 is not as it was when it served: bin\/server changed or went since; this starts what is/;
  assert.match((await kept.changed("web", state, v1)) ?? "", says);
  await rm(v1.path, { recursive: true });
  assert.match((await kept.changed("web", state, v1)) ?? "", says);
  // The one that serves, and one that nobody kept, are no rollback.
  await writeFile(join(v2.path, "bin", "server"), "");
  assert.equal(await kept.changed("web", state, v2), undefined);
  assert.equal(await kept.changed("web", undefined, v1), undefined);
});

test("a release that can't be kept is said, and does not stop the others", async (t) => {
  const { folder, kept, release, messages } = await setUp(t);
  const v1 = await release("v1");
  await kept.reconcile({ gone: pool([1, { id: "v9", path: join(folder, "nowhere") }]), web: pool([1, v1]) });
  assert.match(
    messages[0] ?? "",
    /^release v9 of pool gone can't be kept: a rollback to it will need its folder \(ENOENT/,
  );
  assert.deepEqual(await readdir(join(folder, "releases", "web")), ["1", "1.json"]);
});
