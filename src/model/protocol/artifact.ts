import { quoteValue } from "../types/messages";

/** Largest archive, in bytes. */
export const MAX_ARCHIVE_BYTES = 1024 ** 3;
/** Most that the files of an archive hold together, in bytes. */
export const MAX_CONTENT_BYTES = 4 * 1024 ** 3;
/** Most files, folders and links of an archive. */
export const MAX_ENTRIES = 100_000;
/** Longest path of an entry, and longest name within it, in bytes: what Linux takes, with room for the folder of the release. */
const MAX_PATH_BYTES = 2048;
const MAX_NAME_BYTES = 255;
/** Most links that are followed one after the other, as in Linux. */
const MAX_FOLLOWED = 40;
/** Set-user-ID and set-group-ID. */
const PRIVILEGED = 0o6000;

/** An entry of an archive, as far as it matters whether it may be placed. */
export interface ArchiveEntry {
  /** `File`, `Directory`, `SymbolicLink`, ... */
  type: string;
  path: string;
  /** Permissions, with the bits above them. @default none */
  mode?: number | undefined;
  /** Target of a link. */
  linkpath?: string | undefined;
}

/** Folder of an artifact on the host of an agent. */
export function artifactPath(stateFolder: string, digest: string): string {
  return `${stateFolder}/artifacts/${digest}`;
}

/** Why an entry of an archive must not be placed; undefined if it may. */
export function entryProblem({ type, path, mode = 0, linkpath = "" }: ArchiveEntry): string | undefined {
  const name = quoteValue(path);
  if (path.startsWith("/") || path.includes("\0") || path.includes("\\"))
    return `${name} is not a path within a release`;
  const parts = partsOf(path);
  if (parts.includes("..")) return `${name} leads out of the release`;
  const long =
    Buffer.byteLength(path) > MAX_PATH_BYTES || parts.some((part) => Buffer.byteLength(part) > MAX_NAME_BYTES);
  if (long) return `${name} is too long: use names of at most ${MAX_NAME_BYTES} bytes, and paths of ${MAX_PATH_BYTES}`;
  if (type === "Directory") return undefined;
  // That of a folder only hands its group on, which folders of a team often do.
  if ((mode & PRIVILEGED) !== 0) return `${name} would run as its owner or group, whoever starts it: chmod ug-s it`;
  if (["File", "OldFile", "ContiguousFile"].includes(type)) return undefined;
  if (type !== "SymbolicLink") return `${name} is neither a file nor a folder nor a symbolic link (${type})`;
  if (linkpath.startsWith("/") || depthOf([...parts.slice(0, -1), ...partsOf(linkpath)]) < 0)
    return `${name} is a link out of the release (to ${quoteValue(linkpath)})`;
  return undefined;
}

/**
 * The first symbolic link that leads out of the release by way of others; undefined if none does. What is no link counts as a
 * folder, since it may be one later.
 *
 * @param links targets by path within the release
 */
export function linkProblem(links: ReadonlyMap<string, string>): string | undefined {
  for (const [path, target] of links) {
    const why = wayOf([...partsOf(path).slice(0, -1), ...partsOf(target)], links);
    if (why !== undefined) return `${quoteValue(path)} is a link ${why} (to ${quoteValue(target)})`;
  }
  return undefined;
}

/** Follows a path as Linux does. */
function wayOf(path: readonly string[], links: ReadonlyMap<string, string>): string | undefined {
  const left = path.toReversed();
  const at: string[] = [];
  for (let followed = 0; ; ) {
    const part = left.pop();
    if (part === undefined) return undefined;
    if (part === "..") {
      if (at.pop() === undefined) return "out of the release, by way of other links";
      continue;
    }
    const target = links.get([...at, part].join("/"));
    if (target === undefined) at.push(part);
    else if (++followed > MAX_FOLLOWED) return "in a circle";
    else left.push(...partsOf(target).toReversed());
  }
}

function partsOf(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}

/** How deep below the start the parts lead; negative where they leave it on the way. */
function depthOf(parts: readonly string[]): number {
  let depth = 0;
  for (const part of parts) {
    depth += part === ".." ? -1 : 1;
    if (depth < 0) return depth;
  }
  return depth;
}
