// @ts-check
import { renameSync, rmSync } from "node:fs";
import path from "node:path";
import { engineCacheRoot, fillOnce, isComplete } from "../engine/cache.mjs";
import { runCommand } from "./command.mjs";
import { messageOf } from "./errors.mjs";

/** The release of the official `pulumi` npm package, which installs the CLI of the same version. */
export const OFFICIAL_ENGINE_VERSION = "3.265.0";
const EXECUTABLES = ["pulumi", "pulumi-language-nodejs"];
const PROBE_DEADLINE_MS = 4_000;
const INSTALL_DEADLINE_MS = 10 * 60_000;

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
 * Lets the official `pulumi` npm package install the CLI. That package fetches https://get.pulumi.com/install.sh, which
 * downloads an archive, and waits for both without a limit; so the site is asked first.
 *
 * @param {{env: NodeJS.ProcessEnv, site: string, say: (text: string) => void}} options
 * @returns {Promise<{folder: string} | {reason: string}>} the folder with the executables, or why there is none
 */
export async function installOfficialEngine({ env, site, say }) {
  const unreachable = await whyUnreachable(site);
  if (unreachable !== undefined) return { reason: `${site} cannot be reached (${unreachable})` };
  const folder = officialFolder(env);
  try {
    await fillOnce({ folder, executables: EXECUTABLES, say }, async (temporaryFolder) => {
      say(`downloading the Pulumi CLI ${OFFICIAL_ENGINE_VERSION} with the official npm package`);
      // The package installs below PULUMI_HOME; the user's own is left as it is.
      const home = path.join(temporaryFolder, "home");
      const installEnv = {
        ...env,
        PULUMI_HOME: home,
        PULUMI_VERSION: OFFICIAL_ENGINE_VERSION,
        PULUMI_SKIP_UPDATE_CHECK: "true",
      };
      const args = ["exec", "--yes", `--package=pulumi@${OFFICIAL_ENGINE_VERSION}`, "--", "pulumi", "version"];
      const result = await runCommand("npm", args, {
        env: installEnv,
        cwd: temporaryFolder,
        timeoutMs: INSTALL_DEADLINE_MS,
      });
      if (!result.ok) throw new Error(`${result.failure}: ${result.output.split("\n").at(-1)}`);
      const installed = path.join(home, "versions", OFFICIAL_ENGINE_VERSION, "bin");
      renameSync(installed, path.join(temporaryFolder, "bin"));
      rmSync(home, { recursive: true, force: true });
    });
    return { folder: path.join(folder, "bin") };
  } catch (error) {
    return { reason: `the official installer failed (${messageOf(error)})` };
  }
}

/** @param {string} site */
async function whyUnreachable(site) {
  try {
    const response = await fetch(site, { signal: AbortSignal.timeout(PROBE_DEADLINE_MS) });
    await response.body?.cancel();
    return response.ok ? undefined : `HTTP ${response.status}`;
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    return messageOf(cause);
  }
}
