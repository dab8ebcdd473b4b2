import { access, constants } from "node:fs/promises";
import { join } from "node:path";
import { codeOf } from "../../model/types/errors";
import { observed } from "../support/observed";
import { singleFlight } from "../support/single-flight";
import type { DiskReserve } from "./disk-reserve";
import { holderOf } from "./folder-lock";
import type { StateFile } from "./state";

/** Looks before a difference counts. */
const LOOKS = 3;

/** Files without which no agent starts again. */
const NEEDED = ["agent.json", "bin/agent.cjs"];

export interface StateFolder {
  directory: string;
  stateFile: StateFile;
  diskReserve: DiskReserve;
}

/**
 * A look at an agent's state folder: what is wrong with it now, one sentence each. The agent itself goes on from its memory.
 * On a disk that does not answer, looks must not pile up.
 */
export function folderLook(folder: StateFolder): () => Promise<string[]> {
  const look = singleFlight(() => folderProblems(folder));
  return () =>
    observed(look(), "the disk of its state folder").catch((error: Error) => [
      `its state folder could not be looked at: ${error.message}`,
    ]);
}

async function folderProblems({ directory, stateFile, diskReserve }: StateFolder): Promise<string[]> {
  if (await isGone(directory))
    return [
      `its state folder ${directory} is gone: processes and traffic go on, but nothing can be changed, and no agent can start again: put the folder back`,
    ];
  const holder = await holderOf(directory);
  const unlock =
    holder === process.pid
      ? []
      : [
          `its state folder ${directory} ${holder === undefined ? "is claimed by no agent any more" : `belongs to process ${holder}`}: put this agent's own folder back, and end what else works in it`,
        ];
  const missing = await Promise.all(
    NEEDED.map(async (file) =>
      (await isGone(join(directory, file)))
        ? [`${join(directory, file)} is gone, so that no agent can start again: pulumi up installs it`]
        : [],
    ),
  );
  const readOnly = await writeProblems(directory);
  return [
    ...unlock,
    ...readOnly,
    ...missing.flat(),
    ...(await stateProblems(stateFile)),
    ...(await diskReserve.problems()),
  ];
}

/** A disk with errors is made read-only by the kernel. */
async function writeProblems(directory: string): Promise<string[]> {
  try {
    await access(directory, constants.W_OK);
    return [];
  } catch (error) {
    return [
      `its state folder ${directory} can't be written to (${codeOf(error)}): processes and traffic go on, but nothing can be changed until it can`,
    ];
  }
}

/** A commit may begin while it is looked at, and be there at the next look. */
async function stateProblems(stateFile: StateFile): Promise<string[]> {
  let found: string[] = [];
  for (let look = 0; look < LOOKS; look++) {
    found = await stateFile.differences();
    if (found.length === 0) break;
  }
  return found;
}

async function isGone(path: string): Promise<boolean> {
  try {
    await access(path);
    return false;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return true;
    throw error;
  }
}
