// @ts-check
import { userInfo } from "node:os";
import { prepareDependencies } from "./dependencies.mjs";
import { prepareEngine } from "./engine.mjs";
import { messageOf, SetupError } from "./errors.mjs";
import { prepareHaproxy } from "./haproxy.mjs";
import { OFFICIAL_ENGINE_DIGESTS } from "./official-engine.mjs";

/**
 * @typedef {object} Machine what the steps assume about this machine; tests replace it
 * @property {boolean} isRoot
 * @property {string[]} systemFolders where HAProxy may be although users' PATHs lack the folder
 * @property {string} pulumiSite where Pulumi's own builds are downloaded from
 * @property {Record<string, string>} pulumiDigests SHA-256 of the archive by platform
 */
/**
 * @typedef {object} SetupContext
 * @property {string} root the checkout
 * @property {NodeJS.ProcessEnv} env
 * @property {(text: string) => void} say prints what a step is about to do, or why it left something out
 * @property {Machine} machine
 */
/**
 * @typedef {object} StepResult
 * @property {string} summary what is there now, for the step's line
 * @property {NodeJS.ProcessEnv} [env] the environment that the next steps and the caller's commands need
 */
/**
 * @typedef {object} SetupOptions
 * @property {string} root
 * @property {NodeJS.ProcessEnv} [env] by default this process's
 * @property {(line: string) => void} [print] by default to stdout
 * @property {Partial<Machine>} [machine] by default this one
 */

/** @returns {Machine} */
function thisMachine() {
  return {
    isRoot: userInfo().uid === 0,
    systemFolders: ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/opt/homebrew/bin"],
    pulumiSite: "https://get.pulumi.com",
    pulumiDigests: OFFICIAL_ENGINE_DIGESTS,
  };
}

/**
 * Makes sure that everything Sluice's own commands need is on this machine, and prints a line per step.
 *
 * @param {SetupOptions} options
 * @returns {Promise<{env: NodeJS.ProcessEnv, engine: import("./engine.mjs").Engine, haproxy: import("./haproxy.mjs").Executable}>}
 *   env: with the engine and HAProxy on PATH
 * @throws {SetupError} when a step failed; it has been printed with its remedy, and no later step was begun
 */
export async function setup({ root, env = process.env, print = console.log, machine = {} }) {
  /** @type {SetupContext} */
  const context = { root, env, say: (text) => print(`  … ${text}`), machine: { ...thisMachine(), ...machine } };
  await runStep("npm dependencies", prepareDependencies, context, print);
  const { engine, env: withEngine = env } = await runStep("Pulumi engine", prepareEngine, context, print);
  const next = { ...context, env: withEngine };
  const { haproxy, env: withHaproxy = withEngine } = await runStep("HAProxy", prepareHaproxy, next, print);
  return { env: withHaproxy, engine, haproxy };
}

/**
 * @template {StepResult} Result
 * @param {string} name
 * @param {(context: SetupContext) => Promise<Result>} step
 * @param {SetupContext} context
 * @param {(line: string) => void} print
 * @returns {Promise<Result>}
 */
async function runStep(name, step, context, print) {
  const startedAt = performance.now();
  const elapsed = () => `${((performance.now() - startedAt) / 1000).toFixed(1)} s`;
  try {
    const result = await step(context);
    print(`✓ ${name} ${result.summary}  ${elapsed()}`);
    return result;
  } catch (error) {
    const known = error instanceof SetupError;
    if (known && error.output !== "") print(error.output.replace(/^/gm, "    "));
    print(`✗ ${name}: ${messageOf(error)}  ${elapsed()}`);
    print(`  What to do: ${known ? error.remedy : "mend what the message names, and run this again"}`);
    throw error;
  }
}
