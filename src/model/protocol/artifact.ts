/** Largest archive, in bytes. */
export const MAX_ARCHIVE_BYTES = 1024 ** 3;
/** Most that the files of an archive hold together, in bytes. */
export const MAX_CONTENT_BYTES = 4 * 1024 ** 3;
/** Most files, folders and links of an archive. */
export const MAX_ENTRIES = 100_000;

/** An entry of an archive, as far as it matters whether it may be placed. */
export interface ArchiveEntry {
  /** `File`, `Directory`, `SymbolicLink`, ... */
  type: string;
  path: string;
  /** Target of a link. */
  linkpath?: string | undefined;
}

/** Folder of an artifact on the host of an agent. */
export function artifactPath(stateFolder: string, digest: string): string {
  return `${stateFolder}/artifacts/${digest}`;
}

/** Why an entry of an archive must not be placed; undefined if it may. */
export function entryProblem({ type, path, linkpath = "" }: ArchiveEntry): string | undefined {
  const name = JSON.stringify(path);
  if (path.startsWith("/") || path.includes("\0") || path.includes("\\"))
    return `${name} is not a path within a release`;
  const parts = partsOf(path);
  if (parts.includes("..")) return `${name} leads out of the release`;
  if (["File", "OldFile", "ContiguousFile", "Directory"].includes(type)) return undefined;
  if (type !== "SymbolicLink") return `${name} is neither a file nor a folder nor a symbolic link (${type})`;
  if (linkpath.startsWith("/") || depthOf([...parts.slice(0, -1), ...partsOf(linkpath)]) < 0)
    return `${name} is a link out of the release (to ${JSON.stringify(linkpath)})`;
  return undefined;
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
