import { execFile } from "node:child_process";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import type { Check } from "../../model/protocol/recovery";
import { MIN_NODE, PINNED_NODE } from "../client/scripts";

const CHECK_MS = 5000;

/** Looks whether the agent's next start finds a Node.js: the one that it was installed with, or one on PATH. */
export async function checkNode(env: NodeJS.ProcessEnv = process.env): Promise<Check> {
  const name = "node";
  const pinned = env[PINNED_NODE] ?? process.execPath;
  const version = await versionOf(pinned);
  if (isNewEnough(version))
    return { name, verdict: "good", message: `the agent starts by ${pinned}, Node.js ${version}` };
  const lost = `${pinned}, the Node.js that the agent was installed with, ${version === undefined ? "is gone" : `is ${version} by now, and too old`}`;
  const remedy =
    "install the agent again by one that stays: sluice agent stop and pulumi up, or with systemd sluice agent install";
  const next = await onPath(env.PATH ?? "");
  return next === undefined
    ? {
        name,
        verdict: "problem",
        message: `${lost}, and no Node.js >= ${MIN_NODE} is on its PATH: when it dies or restarts, it does not come back. Install Node.js there, then ${remedy}`,
      }
    : { name, verdict: "warning", message: `${lost}: its next start is by ${next}, which is on its PATH; ${remedy}` };
}

/** The first Node.js on a PATH that is new enough. */
async function onPath(path: string): Promise<string | undefined> {
  for (const folder of path.split(delimiter).filter((each) => each.startsWith("/"))) {
    const node = join(folder, "node");
    if (isNewEnough(await versionOf(node))) return node;
  }
  return undefined;
}

async function versionOf(node: string): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)(node, ["-p", "process.versions.node"], { timeout: CHECK_MS });
    return stdout.trim();
  } catch {
    return undefined;
  }
}

function isNewEnough(version: string | undefined): boolean {
  return version !== undefined && Number.parseInt(version, 10) >= MIN_NODE;
}
