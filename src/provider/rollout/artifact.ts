import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { create } from "tar";
import type { AgentClient } from "../../agent/client/client";
import { artifactPath, entryProblem, MAX_ARCHIVE_BYTES, MAX_ENTRIES } from "../../model/protocol/artifact";
import { codeOf } from "../../model/types/errors";
import { absolutePath } from "../../model/types/names";
import { agentRef } from "../resources/agent-ref";
import { type Context, containsUnknown, type Failure, isUnknown, type Properties, UNKNOWN } from "../server";

const GZIPPED = /\.(tar\.gz|tgz)$/;

/** Why a folder or archive of the deployer can't be sent to hosts; undefined if it can. */
async function artifactProblem(path: string): Promise<string | undefined> {
  let facts: Awaited<ReturnType<typeof stat>>;
  try {
    facts = await stat(path);
  } catch (error) {
    const missing = codeOf(error) === "ENOENT";
    return `${path} ${missing ? "does not exist here: build the release first" : `can't be read: ${(error as Error).message}`}`;
  }
  if (facts.isDirectory()) return undefined;
  if (!facts.isFile() || !GZIPPED.test(path)) return `${path} is neither a folder nor a .tar.gz: give one of them`;
  return facts.size > MAX_ARCHIVE_BYTES ? `${path} is larger than ${MAX_ARCHIVE_BYTES} bytes` : undefined;
}

/** Digest of the archive that would be sent. */
export async function digestOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of await open(path)) hash.update(chunk);
  return hash.digest("hex");
}

/** Sends an artifact to a host that does not have it. */
export async function place(
  client: AgentClient,
  { path, digest }: { path: string; digest: string },
  { log, signal }: Pick<Context, "log" | "signal">,
): Promise<void> {
  if (await client.hasArtifact(digest)) return;
  log.progress(`placing ${path}`);
  await client.sendArtifact(digest, await open(path), signal);
  log.progress(`${path} is placed`);
}

/** The archive of a folder, the same bytes for the same content; or an archive as it is. */
async function open(path: string): Promise<AsyncIterable<Buffer>> {
  if (!(await stat(path)).isDirectory()) return createReadStream(path);
  const names = await namesIn(path);
  return create({ cwd: path, portable: true, noDirRecurse: true, mtime: new Date(0), preservePaths: false }, names);
}

/** Everything in a folder by name, in an order that depends on nothing else. */
async function namesIn(folder: string): Promise<string[]> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true });
  if (found.length > MAX_ENTRIES)
    throw new Error(`${folder} holds more than ${MAX_ENTRIES} files: leave out what hosts do not need`);
  if (found.length === 0) throw new Error(`${folder} is empty: build the release first`);
  const names: string[] = [];
  for (const entry of found) {
    if (!entry.isFile() && !entry.isDirectory() && !entry.isSymbolicLink()) continue;
    const path = join(entry.parentPath, entry.name);
    const name = path.slice(folder.replace(/\/+$/, "").length + 1);
    const { mode } = await lstat(path);
    const problem = entryProblem({ type: entry.isDirectory() ? "Directory" : "File", path: name, mode });
    if (problem !== undefined) throw new Error(`${folder}: ${problem}`);
    // Without it, a name that begins with "@" would be taken for an archive.
    names.push(`./${name}`);
  }
  return names.toSorted((a, b) => (a < b ? -1 : 1));
}

/** A pool's inputs with the folders that its artifact and its candidate's will have on its host. */
export async function withArtifact(news: Properties): Promise<{ news: Properties; failures: Failure[] }> {
  const { canary, agent } = news;
  const own = await copied(news, agent, "");
  if (typeof canary !== "object" || canary === null || Array.isArray(canary) || isUnknown(canary)) return own;
  const canaryRelease = await copied(canary as Properties, agent, "canary.");
  return { news: { ...own.news, canary: canaryRelease.news }, failures: [...own.failures, ...canaryRelease.failures] };
}

/** @param holder what has the artifact and its release @param at path of the holder */
async function copied(
  holder: Properties,
  agent: Properties[string],
  at: string,
): Promise<{ news: Properties; failures: Failure[] }> {
  const { artifact, release } = holder;
  // Of a release that is not known as a whole, only the update can say that it has a path.
  if (artifact === undefined || isUnknown(release)) return { news: holder, failures: [] };
  const lying = (path: string | typeof UNKNOWN) => ({ ...holder, release: { ...(release as Properties), path } });
  if (isUnknown(artifact)) return { news: lying(UNKNOWN), failures: [] };
  const refused = (property: string, reason: string) => ({
    news: lying("/"),
    failures: [{ property: `${at}${property}`, reason }],
  });
  if ((release as Properties | undefined)?.path !== undefined)
    return refused("release.path", "is chosen by the agent for an artifact: leave out this, or artifact");
  const path = absolutePath.safeParse(artifact);
  // Its own schema says so.
  if (!path.success) return { news: lying("/"), failures: [] };
  const problem = await artifactProblem(path.data);
  if (problem !== undefined) return refused("artifact", problem);
  const ref = agentRef.safeParse(agent);
  const digest = await digestOf(path.data);
  if (!ref.success) return { news: lying(containsUnknown(agent) ? UNKNOWN : "/"), failures: [] };
  return { news: lying(artifactPath(ref.data.directory, digest)), failures: [] };
}

/** Sends a pool's artifact, where it has one, to its host. */
export async function placeArtifact(
  client: AgentClient,
  { artifact, release }: { artifact?: string | undefined; release: { path: string } },
  context: Pick<Context, "log" | "signal">,
): Promise<void> {
  if (artifact !== undefined) await place(client, { path: artifact, digest: basename(release.path) }, context);
}
