// @ts-check
import { realpathSync } from "node:fs";
import path from "node:path";
import { BUILT_ENGINE_VERSION, buildEngine, findBuiltEngine } from "../engine/build.mjs";
import { runCommand } from "./command.mjs";
import { findExecutables, isExecutable, pathFolders, withFolderFirst } from "./executables.mjs";
import { findOfficialEngine, installOfficialEngine, OFFICIAL_ENGINE_VERSION } from "./official-engine.mjs";
import { atLeast, parseVersion } from "./version.mjs";

const OLDEST_ENGINE = "3.220";
/** Some wrappers named `pulumi` download the CLI when they are first asked anything. */
const VERSION_DEADLINE_MS = 10_000;

/**
 * @typedef {object} Engine
 * @property {string} path the `pulumi` executable
 * @property {string} version for example `3.220.0`
 * @property {"PATH" | "cache" | "official build" | "built here"} source
 */

/**
 * Finds a Pulumi engine with its Node.js language host, or makes one: on PATH, in the user's cache, from Pulumi's own
 * build by its digest, built from source.
 *
 * @param {import("./setup.mjs").SetupContext} context
 * @returns {Promise<import("./setup.mjs").StepResult & {engine: Engine}>}
 */
export async function prepareEngine(context) {
  const engine = await chooseEngine(context);
  const quiet = { ...context.env, PULUMI_SKIP_UPDATE_CHECK: "true" };
  const first = findExecutables("pulumi", pathFolders(context.env))[0];
  return {
    summary: `${engine.version} (${engine.source === "PATH" ? engine.path : `${engine.source}, ${engine.path}`})`,
    engine,
    env: first === engine.path ? quiet : withFolderFirst(quiet, path.dirname(engine.path)),
  };
}

/**
 * @param {import("./setup.mjs").SetupContext} context
 * @returns {Promise<Engine>}
 */
async function chooseEngine({ env, say, machine }) {
  const { engine, rejected } = await engineOnPath(env);
  if (engine !== undefined) return engine;

  for (const reason of rejected) say(`not used: ${reason}`);
  const official = findOfficialEngine(env);
  if (official !== undefined) return engineIn(official, OFFICIAL_ENGINE_VERSION, "cache");
  const built = findBuiltEngine(env);
  if (built !== undefined) return engineIn(built, BUILT_ENGINE_VERSION, "cache");

  const installed = await installOfficialEngine({ env, say, site: machine.pulumiSite, digests: machine.pulumiDigests });
  if ("folder" in installed) return engineIn(installed.folder, OFFICIAL_ENGINE_VERSION, "official build");
  say(`not used: ${installed.reason}`);
  return engineIn(await buildEngine({ env, say }), BUILT_ENGINE_VERSION, "built here");
}

/**
 * @param {string} folder
 * @param {string} version
 * @param {Engine["source"]} source
 * @returns {Engine}
 */
function engineIn(folder, version, source) {
  return { path: path.join(folder, "pulumi"), version, source };
}

/**
 * Only the first `pulumi` on PATH counts, because it is the one that a program or a user would run.
 *
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<{engine?: Engine, rejected: string[]}>}
 */
async function engineOnPath(env) {
  const file = findExecutables("pulumi", pathFolders(env))[0];
  if (file === undefined) return { rejected: [] };
  const quiet = { ...env, PULUMI_SKIP_UPDATE_CHECK: "true" };
  const result = await runCommand(file, ["version"], { env: quiet, timeoutMs: VERSION_DEADLINE_MS });
  const version = result.ok ? parseVersion(result.stdout) : undefined;
  if (version === undefined) {
    return { rejected: [`${file}, because \`pulumi version\` ${result.failure || "says no version"}`] };
  }
  if (!atLeast(version, OLDEST_ENGINE))
    return { rejected: [`${file}, because ${version} is older than ${OLDEST_ENGINE}`] };
  if (!hasLanguageHost(file, env)) {
    return { rejected: [`${file}, because its language host pulumi-language-nodejs is neither beside it nor on PATH`] };
  }
  return { engine: { path: file, version, source: "PATH" }, rejected: [] };
}

/**
 * @param {string} pulumi
 * @param {NodeJS.ProcessEnv} env
 */
function hasLanguageHost(pulumi, env) {
  // The engine looks on PATH, then beside its own executable, with links resolved.
  const beside = path.join(path.dirname(realpathSync(pulumi)), "pulumi-language-nodejs");
  return isExecutable(beside) || findExecutables("pulumi-language-nodejs", pathFolders(env)).length > 0;
}
