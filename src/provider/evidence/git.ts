import { execFile } from "node:child_process";
import { readFile, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { Program } from "../../model/evidence/note";

/** Longest time to find out whether files differ from the commit, in milliseconds: large repositories take long. */
const STATUS_DEADLINE_MS = 5000;
const MAX_STATUS_BYTES = 64 * 1024;
const REVISION = /^[0-9a-f]{40}(?:[0-9a-f]{24})?$/;

export type Git = NonNullable<Program["git"]>;

/** The commit that a folder is at; undefined if it is in no repository, or its repository can't be read. */
export async function gitOf(folder: string): Promise<Git | undefined> {
  try {
    const found = await repositoryOf(resolve(folder));
    if (found === undefined) return undefined;
    const head = (await readFile(join(found.git, "HEAD"), "utf8")).trim();
    const ref = /^ref: (refs\/[^\0]+)$/.exec(head)?.[1];
    const revision = ref === undefined ? head : await refOf(found, ref);
    if (revision === undefined || !REVISION.test(revision)) return undefined;
    const [dirty, about] = await Promise.all([isDirty(folder), aboutCommit(folder, revision)]);
    return {
      revision,
      ...about,
      ...(ref === undefined ? {} : { branch: ref.replace(/^refs\/heads\//, "").slice(0, 200) }),
      ...(dirty === undefined ? {} : { dirty }),
    };
  } catch {
    // A complaint of git's is no reason to stop: the evidence then names no revision.
    return undefined;
  }
}

interface Repository {
  /** Holds HEAD. */
  git: string;
  /** Holds branches: another folder where this is one of several work trees. */
  common: string;
}

async function repositoryOf(folder: string): Promise<Repository | undefined> {
  for (let at = folder; ; at = dirname(at)) {
    const path = join(at, ".git");
    const found = await stat(path).catch(() => undefined);
    if (found?.isDirectory()) return { git: path, common: path };
    if (found?.isFile()) {
      const named = /^gitdir: (.+)$/m.exec(await readFile(path, "utf8"))?.[1];
      if (named === undefined) return undefined;
      const git = resolve(at, named.trim());
      const common = await readFile(join(git, "commondir"), "utf8").catch(() => ".");
      return { git, common: resolve(git, common.trim()) };
    }
    if (dirname(at) === at) return undefined;
  }
}

async function refOf({ git, common }: Repository, ref: string): Promise<string | undefined> {
  for (const folder of [git, common]) {
    const loose = await readFile(join(folder, ref), "utf8").catch(() => undefined);
    if (loose !== undefined) return loose.trim();
  }
  const packed = await readFile(join(common, "packed-refs"), "utf8").catch(() => "");
  return packed
    .split("\n")
    .find((line) => line.endsWith(` ${ref}`))
    ?.split(" ")[0];
}

/** First line of a commit's message, and its author's name; nothing where git is not installed, too slow, or refuses. */
async function aboutCommit(folder: string, revision: string): Promise<Pick<Git, "subject" | "author">> {
  const commit = await ask(folder, ["show", "--no-patch", "--no-show-signature", "--format=%an%n%s", revision]);
  const [author = "", subject = ""] = commit?.split("\n") ?? [];
  const cut = (text: string) => text.slice(0, 200);
  return { ...(subject === "" ? {} : { subject: cut(subject) }), ...(author === "" ? {} : { author: cut(author) }) };
}

/** Whether tracked files differ from the commit; undefined if git is not installed, too slow, or refuses. */
async function isDirty(folder: string): Promise<boolean | undefined> {
  // Only git itself knows what counts as a difference.
  const status = await ask(folder, ["status", "--porcelain", "--untracked-files=no"]);
  return status === undefined ? undefined : status !== "";
}

/** Output of git, cut where it is long; undefined if git fails or prints nothing. */
function ask(folder: string, args: string[]): Promise<string | undefined> {
  // It must neither lock the repository nor run what its config names.
  const all = ["--no-optional-locks", "-c", "core.fsmonitor=false", ...args];
  return new Promise((resolve) => {
    const options = { cwd: folder, timeout: STATUS_DEADLINE_MS, maxBuffer: MAX_STATUS_BYTES };
    execFile("git", all, options, (error, stdout) => resolve(error !== null && stdout === "" ? undefined : stdout));
  });
}
