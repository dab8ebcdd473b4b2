import { readFileSync } from "node:fs";
import { join } from "node:path";
import { allStats, findMarked, type Identity, signalProcess } from "../../agent/processes/identity";
import { until } from "../support/until";
import { FOLDER, hostFolder, MARKER } from "./project";

/**
 * Every process of this demo or of an earlier one: `pulumi` and its plugins, the load, the agent (by the marker in the
 * environment that the demo gave them), and what the agent started (by the marker that its state file records).
 */
export async function processesLeft(): Promise<Identity[]> {
  const mine = (await allStats()).filter(({ pid }) => pid !== process.pid && isMarked(pid));
  const marker = agentMarker();
  return marker === undefined ? mine : [...mine, ...(await findMarked(marker))];
}

/** Ends all of them at once. */
export async function endLeftovers(): Promise<number> {
  const found = (await processesLeft()).length;
  await until("the demo's processes to be gone", async () => {
    const left = await processesLeft();
    for (const identity of left) signalProcess(identity, "SIGKILL");
    return left.length === 0;
  });
  return found;
}

function isMarked(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0").includes(`${MARKER}=${FOLDER}`);
  } catch (error) {
    // It ended meanwhile, or is another user's.
    if (["ENOENT", "ESRCH", "EACCES", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "")) return false;
    throw error;
  }
}

function agentMarker(): string | undefined {
  try {
    return JSON.parse(readFileSync(join(hostFolder(), "state.json"), "utf8")).state.agent;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
