import { constants } from "node:fs";
import { access, copyFile, link, mkdir, readdir, readlink, rename, rm, stat, symlink } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import type { PoolState } from "../../model/pool/pool-state";
import type { Release } from "../../model/pool/release";
import { codeOf, messageOf } from "../../model/types/errors";
import { Mutex } from "../../support/waiting";
import type { Events } from "../events/events";
import { makeFolder, PRIVATE_FILE_MODE, readIfThere, writeFileAtomic } from "../support/files";
import { changedIn, digests, digestsOf } from "./digests";

/** Most changed files that are named. */
const MAX_NAMED = 3;
/** A file system can't link here: another one, no right to, or too many links already. */
const CANNOT_LINK = ["EXDEV", "EPERM", "EMLINK", "ENOTSUP"];

/**
 * Keeps the folders of the current and the retained releases, so that a rollback has its target even if the folder was
 * cleaned up meanwhile. A retained release is a tree of hard links, which takes time but no space (a copy where the
 * state folder is on another file system); it is put back at its own path when it is needed there. Links share their
 * content with the release's own folder, so that digests tell what was changed in place.
 */
export class RetainedReleases {
  private readonly root: string;
  private readonly passes = new Mutex();

  constructor(
    directory: string,
    private readonly events: Events,
  ) {
    this.root = join(directory, "releases");
  }

  /** Keeps what pools may need, and drops what no pool names any more. A release that can't be kept is reported. */
  reconcile(pools: Record<string, PoolState>): Promise<void> {
    return this.passes.run(() => this.reconcileNow(pools));
  }

  private async reconcileNow(pools: Record<string, PoolState>): Promise<void> {
    const running = Object.entries(pools).flatMap(([pool, { current, candidate }]) =>
      [current, candidate?.generation].flatMap((generation) =>
        generation === undefined ? [] : [{ pool, ...generation }],
      ),
    );
    for (const { pool, number, release } of running) {
      try {
        await this.keep(join(this.root, pool, String(number)), release.path);
      } catch (error) {
        const why = (error as Error).message;
        this.events.emit(
          `release ${release.id} of pool ${pool} can't be kept: a rollback to it will need its folder (${why})`,
          { pool },
        );
      }
    }
    for (const pool of await entriesOf(this.root)) await this.drop(pool, pools[pool]);
  }

  /** Drops what a pool does not name any more, also what a kill left half made. */
  private async drop(pool: string, state: PoolState | undefined): Promise<void> {
    const folder = join(this.root, pool);
    if (state === undefined) return rm(folder, { recursive: true, force: true });
    const named = new Set(generationsOf(state).flatMap(({ number }) => [`${number}`, digestsFile(`${number}`)]));
    for (const kept of await entriesOf(folder))
      if (!named.has(kept)) await rm(join(folder, kept), { recursive: true, force: true });
  }

  private async keep(target: string, source: string): Promise<void> {
    if (!relative(source, this.root).startsWith(".."))
      throw new Error(`${source} holds the agent's own state folder: give releases folders of their own`);
    await makeFolder(dirname(target), { above: 1 });
    if (!(await exists(target))) await copyTree(source, target);
    if (!(await exists(digestsFile(target))))
      await writeFileAtomic(digestsFile(target), JSON.stringify(await digestsOf(target)), PRIVATE_FILE_MODE);
  }

  /** Whether a release's own folder is there. */
  isThere({ path }: Release): Promise<boolean> {
    return exists(path);
  }

  /** Whether a release whose folder is gone could be put back. */
  async has(pool: string, state: PoolState | undefined, release: Release): Promise<boolean> {
    const folder = this.folderOf(pool, state, release);
    return folder !== undefined && exists(folder);
  }

  /** Puts a release back at its own path, if its folder is gone and it was kept. */
  async restore(pool: string, state: PoolState | undefined, release: Release): Promise<void> {
    const folder = this.folderOf(pool, state, release);
    if (folder === undefined || (await exists(release.path)) || !(await exists(folder))) return;
    try {
      await mkdir(dirname(release.path), { recursive: true });
      await copyTree(folder, release.path);
    } catch (error) {
      throw new Error(
        `the folder ${release.path} of release ${release.id} is gone and can't be put back (${messageOf(error)}): make every name above it a folder again and remove what is in its place, or deploy another release`,
        { cause: error },
      );
    }
    this.events.emit(`the folder ${release.path} of release ${release.id} was gone: put back from what was kept`, {
      pool,
    });
  }

  /** A sentence on files of a retained release that changed since it served; undefined if none did, or that is not known. */
  async changed(pool: string, state: PoolState | undefined, release: Release): Promise<string | undefined> {
    const isServing = state?.current?.release.id === release.id && state.current.release.path === release.path;
    const folder = isServing ? undefined : this.folderOf(pool, state, release);
    const known = folder && (await readIfThere(digestsFile(folder)));
    if (folder === undefined || known === undefined) return undefined;
    const there = (await exists(release.path)) ? release.path : folder;
    const changed = await changedIn(there, digests.parse(JSON.parse(known)));
    if (changed.length === 0) return undefined;
    const more = changed.length > MAX_NAMED ? ` and ${changed.length - MAX_NAMED} more files` : "";
    return `release ${release.id} in ${release.path} is not as it was when it served: ${changed.slice(0, MAX_NAMED).join(", ")}${more} changed or went since; this starts what is there now, so place its own files there first unless that is meant`;
  }

  private folderOf(pool: string, state: PoolState | undefined, { id, path }: Release): string | undefined {
    const match =
      state === undefined
        ? undefined
        : generationsOf(state).find(({ release }) => release.id === id && release.path === path);
    return match === undefined ? undefined : join(this.root, pool, String(match.number));
  }
}

function generationsOf({ current, candidate, retained }: PoolState): { number: number; release: Release }[] {
  return [
    ...[current, candidate?.generation].filter((generation) => generation !== undefined),
    ...retained.map(({ generation: number, release }) => ({ number, release })),
  ];
}

/** Place of the digests of a kept folder, beside it. */
function digestsFile(folder: string): string {
  return `${folder}.json`;
}

/** Makes a tree appear at once: it is built beside its place and renamed. */
async function copyTree(source: string, target: string): Promise<void> {
  const partial = `${target}.partial`;
  await rm(partial, { recursive: true, force: true });
  try {
    await linkTree(source, partial);
    await rename(partial, target);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw error;
  }
}

async function linkTree(source: string, target: string): Promise<void> {
  await mkdir(target, { mode: (await stat(source)).mode });
  for (const entry of await readdir(source, { withFileTypes: true })) {
    const from = join(source, entry.name);
    const to = join(target, entry.name);
    if (entry.isDirectory()) await linkTree(from, to);
    else if (entry.isSymbolicLink()) await symlink(await readlink(from), to);
    else if (entry.isFile()) await linkOrCopy(from, to);
    // Sockets, pipes and devices are made by what runs; they are no part of a release.
  }
}

async function linkOrCopy(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    if (!CANNOT_LINK.includes(codeOf(error) ?? "")) throw error;
    await copyFile(from, to, constants.COPYFILE_FICLONE);
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path, constants.F_OK);
    return true;
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "ELOOP"].includes(codeOf(error) ?? "")) return false;
    throw error;
  }
}

async function entriesOf(folder: string): Promise<string[]> {
  return (await exists(folder)) ? readdir(folder) : [];
}
