import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { findMarked } from "../../agent/processes/identity";
import { faultTests } from "./support/suite";
import { markerOf } from "./support/whole";
import { kill, type World } from "./support/world";

const EARLIER_BOOT = "00000000-0000-4000-8000-000000000000";

faultTests({
  name: "reboot",
  hitless: false,
  aim: async (world, deployment) => {
    const { agent, guard } = await world.agent();
    const marker = await markerOf(world);
    return {
      hit: async () => {
        kill(guard);
        kill(agent);
        deployment().kill("SIGKILL");
        await killMarked(marker);
        await asOfEarlierBoot(world);
        await world.startAgent();
      },
    };
  },
});

async function killMarked(marker: string): Promise<void> {
  for (;;) {
    const left = await findMarked(marker);
    if (left.length === 0) return;
    for (const process of left) kill(process);
  }
}

/** The host's boot has an id, by which the agent knows that no process of the one before can live. */
async function asOfEarlierBoot({ directory }: World): Promise<void> {
  const folder = join(directory, "processes", ".status");
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const text = await readFile(path, "latin1");
    await writeFile(path, text.replace(/^boot [0-9a-f-]{36}/, `boot ${EARLIER_BOOT}`));
  }
}
