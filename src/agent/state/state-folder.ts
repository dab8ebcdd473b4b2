import { access, constants, stat } from "node:fs/promises";
import { join } from "node:path";
import { codeOf } from "../../model/types/errors";
import { ifThere, whileUnchanged } from "../support/files";
import { ObservationLate, observed } from "../support/observed";
import { singleFlight } from "../support/single-flight";
import type { DiskReserve } from "./disk-reserve";
import { holderOf, lockPath } from "./folder-lock";
import { NEEDED } from "./needed";
import type { StateFile } from "./state";

/** Looks before a difference counts. */
const LOOKS = 3;
/** Looks that may wait for the disk at once: each holds one of the four threads that all file access of the agent shares. */
const AT_ONCE = 2;

export interface StateFolder {
  directory: string;
  stateFile: StateFile;
  diskReserve: DiskReserve;
  /** Parts that keep files in it, by what their files are: each writes those again that were deleted, and says so. */
  restorable: Readonly<Record<string, () => Promise<string[]>>>;
  /** Told what was written again. */
  restored: (what: string) => void;
}

/** Answer of a look; undefined where it can't tell, since the folder is gone or other looks wait for the disk. */
type Seen = { problems: string[] } | { unseen: string } | undefined;

/** A look at one thing that can be wrong with an agent's state folder. */
export interface FolderLook {
  /** What it looks at, as in `its state folder`. */
  subject: string;
  /** How it is when nothing is wrong, as in `can be written to`. */
  good: string;
  see: () => Promise<Seen>;
}

/** Looks that report the problems of an agent's state folder, a sentence each. The agent itself goes on from its memory. */
export function folderLooks({ directory, stateFile, diskReserve, restorable, restored }: StateFolder): FolderLook[] {
  const limited = limitedTo(AT_ONCE);
  const look = (subject: string, good: string, problems: () => Promise<string[] | undefined>) =>
    newLook({ subject, good, problems, limited });
  const inside = (subject: string, good: string, problems: () => Promise<string[]>) =>
    look(subject, good, () => unlessGone(directory, problems));
  const holder = whileUnchanged(lockPath(directory), () => holderOf(directory));
  const restoreOwn = async (restore: StateFolder["restorable"][string]) => {
    // Nothing is written to a folder that was put in the place of its own.
    const isOwn = !(await isGone(directory)) && (await claimProblems(directory, holder)).length === 0;
    if (isOwn) for (const what of await restore()) restored(what);
    return [];
  };
  return [
    look("state folder", "is there", () => goneProblems(directory)),
    inside("claim of its state folder", "is its own", () => claimProblems(directory, holder)),
    inside("right to write to its state folder", "is there", () => writeProblems(directory)),
    ...NEEDED.map((file) => inside(file, "is there", () => missingProblems(directory, file))),
    ...Object.entries(restorable).map(([files, restore]) => inside(files, "is there", () => restoreOwn(restore))),
    inside("state on disk", "is good", () => stateProblems(stateFile)),
    inside("disk", "has room", () => diskReserve.fullProblems()),
    inside("reserve on the disk", "is there", () => diskReserve.lostProblems()),
  ];
}

/** A look with a deadline of its own, of which only one runs at a time: on a disk that does not answer, looks must not pile up. */
function newLook({
  subject,
  good,
  problems,
  limited,
}: Pick<FolderLook, "subject" | "good"> & {
  problems: () => Promise<string[] | undefined>;
  limited: ReturnType<typeof limitedTo>;
}): FolderLook {
  let begun = false;
  const run = singleFlight(() =>
    limited(async () => {
      begun = true;
      return problems().finally(() => {
        begun = false;
      });
    }),
  );
  const see = () =>
    observed(run(), "the disk of its state folder").then(
      (found) => found && { problems: found },
      (error: Error) =>
        // One that waits for the others has seen nothing wrong.
        error instanceof ObservationLate && !begun
          ? undefined
          : { unseen: `its ${subject} could not be checked: ${error.message}` },
    );
  return { subject, good, see };
}

/** Problems of something in a folder; undefined if there are some because the folder itself is gone, which has its own look. */
async function unlessGone(directory: string, problems: () => Promise<string[]>): Promise<string[] | undefined> {
  try {
    const found = await problems();
    return found.length > 0 && (await isGone(directory)) ? undefined : found;
  } catch (error) {
    if (await isGone(directory)) return undefined;
    throw error;
  }
}

/** Everything that is wrong with the folder now. */
export async function folderProblems(looks: readonly FolderLook[]): Promise<string[]> {
  const seen = await Promise.all(looks.map(({ see }) => see()));
  return seen.flatMap((each) => (each === undefined ? [] : "unseen" in each ? [each.unseen] : each.problems));
}

async function goneProblems(directory: string): Promise<string[]> {
  return (await isGone(directory))
    ? [
        `its state folder ${directory} is gone: processes and traffic go on, but nothing can be changed, and no agent can start again: put the folder back`,
      ]
    : [];
}

async function claimProblems(directory: string, holderNow: () => Promise<number | undefined>): Promise<string[]> {
  const holder = await holderNow();
  return holder === process.pid
    ? []
    : [
        `its state folder ${directory} ${holder === undefined ? "is claimed by no agent any more" : `belongs to process ${holder}`}: put this agent's own folder back, and end what else works in it`,
      ];
}

async function missingProblems(directory: string, file: string): Promise<string[]> {
  return (await isGone(join(directory, file)))
    ? [`${join(directory, file)} is gone, so that no agent can start again: pulumi up installs it`]
    : [];
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
  return (await ifThere(stat(path))) === undefined;
}

/** Lets so much work go on at once; the rest waits for its turn. */
function limitedTo(count: number): <T>(work: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = [];
  let free = count;
  return async (work) => {
    if (free === 0) await new Promise<void>((resolve) => waiting.push(resolve));
    else free -= 1;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) free += 1;
      else next();
    }
  };
}
