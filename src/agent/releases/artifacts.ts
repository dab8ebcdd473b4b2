import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdir, readlink, rename, rm, stat } from "node:fs/promises";
import { join, relative } from "node:path";
import { Unpack } from "tar";
import { generationsOf, type PoolState } from "../../model/pool/pool-state";
import {
  artifactPath,
  entryProblem,
  linkProblem,
  MAX_ARCHIVE_BYTES,
  MAX_CONTENT_BYTES,
  MAX_ENTRIES,
} from "../../model/protocol/artifact";
import { ApiError } from "../api/api-error";
import { ifThere, makeFolder, syncFolder } from "../support/files";

/** Time for which an artifact that no pool names is kept: its update may be about to begin. In milliseconds. */
const UNNAMED_MS = 3_600_000;
const PARTIAL = ".partial";

/**
 * Releases that deployers have sent, each in a folder named after the digest of its archive. One is received beside its
 * place, checked, and then renamed, so that a folder of that name is always whole.
 */
export class Artifacts {
  private readonly root: string;

  constructor(private readonly directory: string) {
    this.root = join(directory, "artifacts");
  }

  /** Path of an artifact; undefined if it was not received yet. */
  async find(digest: string): Promise<string | undefined> {
    const path = artifactPath(this.directory, digest);
    return (await ifThere(stat(path))) && path;
  }

  /**
   * Receives an archive (tar, gzipped or not) and places it. One that is there already is left as it is.
   *
   * @throws Problem where it is not what its digest says, too large, or has an entry that leads out of it: nothing is placed
   */
  async receive(digest: string, archive: AsyncIterable<Buffer>): Promise<string> {
    const target = artifactPath(this.directory, digest);
    const partial = join(this.root, `${digest}.${randomBytes(6).toString("hex")}${PARTIAL}`);
    await makeFolder(partial, { above: 1 });
    try {
      const received = await unpack(archive, partial);
      if (received !== digest)
        throw new ApiError(
          400,
          "wrong-digest",
          `the archive has digest ${received}, not ${digest}: was it changed while it was sent?`,
        );
      if ((await this.find(digest)) === undefined) await rename(partial, target);
      await syncFolder(this.root);
    } finally {
      await rm(partial, { recursive: true, force: true });
    }
    return target;
  }

  /** Drops what no pool names any more, and what a kill has left half received. */
  async prune(pools: readonly PoolState[], { starting = false } = {}): Promise<void> {
    const named = new Set(pools.flatMap(pathsOf));
    for (const name of await this.entries()) {
      const path = join(this.root, name);
      if (name.endsWith(PARTIAL) ? !starting : named.has(path)) continue;
      if (!name.endsWith(PARTIAL) && Date.now() - (await stat(path)).ctimeMs < UNNAMED_MS) continue;
      await rm(path, { recursive: true, force: true });
    }
  }

  private async entries(): Promise<string[]> {
    return (await ifThere(readdir(this.root))) ?? [];
  }
}

function pathsOf(state: PoolState): string[] {
  return [...generationsOf(state), ...state.retained].map(({ release }) => release.path);
}

/** Unpacks an archive into a folder. Gives the digest of the archive. */
async function unpack(archive: AsyncIterable<Buffer>, folder: string): Promise<string> {
  const hash = createHash("sha256");
  let problem: Error | undefined;
  let content = 0;
  let entries = 0;
  const refuse = (why: string) => {
    problem ??= new ApiError(422, "bad-archive", `the archive is refused: ${why}`);
    return false;
  };
  const unpacking = new Unpack({
    cwd: folder,
    strict: true,
    preserveOwner: false,
    // Times tell builds of the same content apart, and nothing else.
    noMtime: true,
    filter: (path, entry) => {
      if (problem !== undefined || !("type" in entry)) return false;
      const { type, mode = 0, linkpath } = entry;
      const wrong = entryProblem({ type, path, mode, linkpath });
      if (wrong !== undefined) return refuse(wrong);
      // Without the bits of folders that hand their group on, or keep others from removing files.
      entry.mode = mode & 0o777;
      content += entry.size ?? 0;
      entries += 1;
      if (content > MAX_CONTENT_BYTES) return refuse(`its files hold more than ${MAX_CONTENT_BYTES} bytes`);
      return entries > MAX_ENTRIES ? refuse(`it has more than ${MAX_ENTRIES} entries`) : true;
    },
  });
  const ended = new Promise<void>((resolve) => {
    unpacking.on("error", (error: Error) => {
      refuse(error.message);
      resolve();
    });
    unpacking.on("close", () => resolve());
  });
  let size = 0;
  for await (const chunk of archive) {
    hash.update(chunk);
    size += chunk.length;
    if (size > MAX_ARCHIVE_BYTES) refuse(`it is larger than ${MAX_ARCHIVE_BYTES} bytes`);
    if (problem !== undefined) throw problem;
    if (!unpacking.write(chunk)) await Promise.race([once(unpacking, "drain"), ended]);
  }
  unpacking.end();
  await ended;
  if (problem !== undefined) throw problem;
  if (entries === 0)
    throw new ApiError(422, "bad-archive", "the archive is refused: it is empty, or not a tar archive");
  const astray = linkProblem(await linksIn(folder));
  if (astray !== undefined) throw new ApiError(422, "bad-archive", `the archive is refused: ${astray}`);
  return hash.digest("hex");
}

/** Targets of the symbolic links in a folder, by path within it. */
async function linksIn(folder: string): Promise<Map<string, string>> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true });
  const links = found.filter((entry) => entry.isSymbolicLink()).map((entry) => join(entry.parentPath, entry.name));
  return new Map(await Promise.all(links.map(async (path) => [relative(folder, path), await readlink(path)] as const)));
}
