import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { diskProblem, fillDisk, fillInodes, mountDisk, unmountDisk } from "./support/disk";
import { kill } from "./support/host";
import { faultTests } from "./support/suite";
import { assertWhole } from "./support/whole";
import { SLOW_TO_FOLLOW, World } from "./support/world";

const FILLER = "filler";
/** Enough for the agent and some promotions. */
const INODES = 1500;
const skip = diskProblem();

faultTests({
  name: "disk full on the agent's state folder",
  hitless: true,
  skip,
  options: { folder: () => smallDisk() },
  aim: async ({ directory }) => ({
    hit: () => fillDisk(join(directory, FILLER)),
    repair: () => rm(join(directory, FILLER)),
  }),
});

faultTests({
  name: "no inode left on the agent's state folder",
  hitless: true,
  skip,
  options: { folder: () => smallDisk(INODES) },
  aim: async ({ directory }) => ({
    hit: () => fillInodes(join(directory, FILLER)),
    repair: () => rm(join(directory, FILLER), { recursive: true }),
  }),
});

test("an agent that is killed on a full disk comes back and undoes", { skip: skip ?? false }, async (t) => {
  const world = await World.start(t, { folder: () => smallDisk(), processes: SLOW_TO_FOLLOW });
  const reached = world.phase("follow", AbortSignal.timeout(30_000));
  const deployment = world.deploy(world.nextRelease());
  await reached;
  fillDisk(join(world.directory, FILLER));
  kill((await world.agent()).agent);
  assert.equal((await deployment.finished).exit, 1);
  await assertWhole(world, "v1");
  await rm(join(world.directory, FILLER));
  await assertWhole(world, await world.promoteNext());
  assert.deepEqual(world.load?.snapshot().failures, []);
});

async function smallDisk(inodes?: number) {
  const path = await mkdtemp(join(tmpdir(), "sl-d-"));
  mountDisk(path, inodes === undefined ? {} : { inodes });
  return {
    path,
    remove: async () => {
      unmountDisk(path);
      await rm(path, { recursive: true, force: true });
    },
  };
}
