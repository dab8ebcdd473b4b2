// @ts-check
import { createHash } from "node:crypto";
import { createWriteStream, mkdirSync, renameSync, rmSync } from "node:fs";
import path from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { engineCacheRoot, fillOnce, isComplete } from "../engine/cache.mjs";
import { messageOf } from "./errors.mjs";

/** Release of Pulumi's own build of the CLI whose archives are known by digest. */
export const OFFICIAL_ENGINE_VERSION = "3.221.0";
/**
 * SHA-256 of its archives by platform, as nixpkgs records them too (pkgs/by-name/pu/pulumi-bin).
 *
 * @type {Record<string, string>}
 */
export const OFFICIAL_ENGINE_DIGESTS = {
  "linux-x64": "fe736f91b4153f94f859870e34dda01e648552c25f702c8a42282acf3a5db9ad",
  "linux-arm64": "baaf077a8b851da4fd1f6434860b56fec43f877709fe5a22ed3bbd335af57a37",
  "darwin-x64": "6c275ff21c2a2790dc4ac9536be745f0fa65b9eab32e5dc896d1e4cd79fafb6b",
  "darwin-arm64": "4d3024f24131440cacc9d04cf9a19dc673c821216fe5fec848d1ce5af0c06092",
};
const EXECUTABLES = ["pulumi", "pulumi-language-nodejs"];
const ANSWER_DEADLINE_MS = 4_000;
const DOWNLOAD_DEADLINE_MS = 10 * 60_000;

/** @param {NodeJS.ProcessEnv} env */
const officialFolder = (env) => path.join(engineCacheRoot(env), `official-${OFFICIAL_ENGINE_VERSION}`);

/**
 * The folder with the executables of the official engine installed earlier, if it is there.
 *
 * @param {NodeJS.ProcessEnv} env
 * @returns {string | undefined}
 */
export function findOfficialEngine(env) {
  const folder = officialFolder(env);
  return isComplete(folder, EXECUTABLES) ? path.join(folder, "bin") : undefined;
}

/**
 * Downloads Pulumi's own build of the CLI, and unpacks it once its digest is the known one: nothing of it runs before.
 *
 * @param {{env: NodeJS.ProcessEnv, site: string, digests: Record<string, string>, say: (text: string) => void}} options
 * @returns {Promise<{folder: string} | {reason: string}>} the folder with the executables, or why there is none
 */
export async function installOfficialEngine({ env, site, digests, say }) {
  const platform = `${process.platform}-${process.arch}`;
  const digest = digests[platform];
  if (digest === undefined) return { reason: `no digest of Pulumi's build for ${platform} is known` };
  const url = `${site}/releases/sdk/pulumi-v${OFFICIAL_ENGINE_VERSION}-${platform}.tar.gz`;
  const folder = officialFolder(env);
  try {
    await fillOnce({ folder, executables: EXECUTABLES, say }, async (temporaryFolder) => {
      say(`downloading the Pulumi CLI from ${url}, to be used only with SHA-256 ${digest}`);
      const archive = path.join(temporaryFolder, "pulumi.tar.gz");
      const received = await download(url, archive);
      if (received !== digest)
        throw new Error(`${url} has SHA-256 ${received}, not ${digest}: it is not the known archive, and was removed`);
      // The dependencies may have been installed by this very set-up.
      const { extract } = await import("tar");
      const unpacked = path.join(temporaryFolder, "unpacked");
      mkdirSync(unpacked);
      await extract({ file: archive, cwd: unpacked, strict: true });
      const inner = path.join(unpacked, "pulumi");
      renameSync(isComplete(inner, EXECUTABLES) ? path.join(inner, "bin") : inner, path.join(temporaryFolder, "bin"));
      rmSync(archive);
      rmSync(unpacked, { recursive: true, force: true });
    });
    return { folder: path.join(folder, "bin") };
  } catch (error) {
    return { reason: messageOf(error) };
  }
}

/**
 * @param {string} url
 * @param {string} file
 * @returns {Promise<string>} its SHA-256
 */
async function download(url, file) {
  const unanswered = new AbortController();
  const timer = setTimeout(() => unanswered.abort(new Error("no answer")), ANSWER_DEADLINE_MS);
  const signal = AbortSignal.any([unanswered.signal, AbortSignal.timeout(DOWNLOAD_DEADLINE_MS)]);
  const response = await fetch(url, { signal })
    .catch((error) => {
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
      throw new Error(`${url} cannot be reached (${messageOf(cause)})`, { cause });
    })
    .finally(() => clearTimeout(timer));
  if (!response.ok || response.body === null) throw new Error(`${url} cannot be had (HTTP ${response.status})`);
  const hash = createHash("sha256");
  const hashing = new Transform({
    transform(chunk, _encoding, done) {
      hash.update(chunk);
      done(undefined, chunk);
    },
  });
  await pipeline(Readable.fromWeb(/** @type {any} */ (response.body)), hashing, createWriteStream(file), { signal });
  return hash.digest("hex");
}
