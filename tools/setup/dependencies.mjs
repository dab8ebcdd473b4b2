// @ts-check
import { readFileSync } from "node:fs";
import path from "node:path";
import { runCommand } from "./command.mjs";
import { codeOf, SetupError } from "./errors.mjs";
import { markInUse, othersUsing } from "./in-use.mjs";
import { withLock } from "./lock.mjs";

const INSTALL_DEADLINE_MS = 10 * 60_000;

/**
 * No install scripts: esbuild's and protobufjs's are not needed for what they install here, and Pulumi's would download
 * plugins that the engine fetches by itself when a program uses them. Everything that tests and builds need is included,
 * whatever the user's npm settings or NODE_ENV omit.
 */
const INSTALL_ARGS = ["ci", "--ignore-scripts", "--include=dev", "--include=optional", "--no-audit", "--no-fund"];

/**
 * @typedef {object} LockEntry
 * @property {string} [version]
 * @property {string} [resolved]
 * @property {string} [integrity]
 * @property {boolean} [link]
 * @property {boolean} [optional]
 * @property {boolean} [devOptional]
 * @property {string[]} [os]
 * @property {string[]} [cpu]
 * @property {string[]} [libc]
 * @property {Record<string, string>} [dependencies]
 * @property {Record<string, string>} [optionalDependencies]
 * @property {Record<string, string>} [peerDependencies]
 */
/** @typedef {{packages?: Record<string, LockEntry & {[field: string]: unknown}>}} LockFile */

const DEPENDENCY_FIELDS = ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies"];

/**
 * Installs what package-lock.json says, unless exactly that is installed. npm removes all that is installed first, so
 * that it is refused while another command runs with it: a program in the middle of an update would miss its SDK.
 *
 * @param {import("./setup.mjs").SetupContext} context
 * @returns {Promise<import("./setup.mjs").StepResult>}
 */
export async function prepareDependencies({ root, env, say }) {
  const lock = path.join(root, ".sluice", "install.lock");
  /** @param {number} pid */
  const onWait = (pid) => say(`waiting for another set-up (pid ${pid})`);
  return withLock(lock, { deadlineMs: INSTALL_DEADLINE_MS, onWait }, async () => {
    const reason = installMismatch(root);
    const users = othersUsing(root);
    if (reason !== undefined && users.length > 0) throw inUse(reason, users);
    if (reason !== undefined) await install(root, env, reason, say);
    markInUse(root);
    return { summary: `${reason === undefined ? "" : "installed "}as package-lock.json says` };
  });
}

/**
 * @param {string} root
 * @param {NodeJS.ProcessEnv} env
 * @param {string} reason
 * @param {(text: string) => void} say
 */
async function install(root, env, reason, say) {
  say(`npm ci, because ${reason}`);
  const result = await runCommand("npm", INSTALL_ARGS, { env, cwd: root, timeoutMs: INSTALL_DEADLINE_MS });
  if (!result.ok) {
    throw new SetupError(
      `\`npm ${INSTALL_ARGS.join(" ")}\` ${result.failure}`,
      "see npm's message above; if package.json was changed by hand, run `npm install`; if a registry cannot be reached, look at `npm config get registry`",
      result.output,
    );
  }
  const left = installMismatch(root);
  if (left !== undefined) {
    throw new SetupError(
      `npm ci succeeded, but ${left}`,
      "remove node_modules and run `npm install`; if that changes package-lock.json, commit it",
      result.output,
    );
  }
}

/**
 * @param {string} reason
 * @param {number[]} users
 */
function inUse(reason, users) {
  return new SetupError(
    `${reason}, and npm can't install that under another command of this checkout, which runs (pid ${users.join(", ")})`,
    "wait for it, or end it, and run this again",
  );
}

/**
 * Why what is installed in node_modules is not what the lock file says, or undefined if it is.
 *
 * @param {string} root the folder of package.json
 */
export function installMismatch(root) {
  const lock = /** @type {LockFile | undefined} */ (readJson(path.join(root, "package-lock.json")));
  if (lock === undefined) throw new SetupError("package-lock.json is missing", "git checkout package-lock.json");
  const manifest = readJson(path.join(root, "package.json"));
  const installed = /** @type {LockFile | undefined} */ (readJson(path.join(root, "node_modules/.package-lock.json")));
  if (installed === undefined) return "nothing is installed yet";
  return (
    manifestMismatch(manifest, lock) ??
    lockMismatch(lock, installed, process) ??
    Object.entries(installed.packages ?? {})
      .map(([place, entry]) => placeMismatch(root, place, entry))
      .find((reason) => reason !== undefined)
  );
}

/**
 * npm copies package.json's dependencies into the lock file; a difference means that somebody edited package.json.
 *
 * @param {Record<string, unknown> | undefined} manifest
 * @param {LockFile} lock
 */
export function manifestMismatch(manifest, lock) {
  for (const field of DEPENDENCY_FIELDS) {
    const declared = /** @type {Record<string, string>} */ (manifest?.[field] ?? {});
    const locked = /** @type {Record<string, string>} */ (lock.packages?.[""]?.[field] ?? {});
    for (const name of new Set([...Object.keys(declared), ...Object.keys(locked)])) {
      if (declared[name] !== locked[name]) {
        return `package.json has ${name} ${declared[name] ?? "(not)"} and package-lock.json ${locked[name] ?? "(not)"}`;
      }
    }
  }
  return undefined;
}

/**
 * Compares package-lock.json with npm's record of what it installed. By content: npm rewrites both files in its own
 * order and with its own notes, and a checkout changes their times.
 *
 * @param {LockFile} lock
 * @param {LockFile} installed `node_modules/.package-lock.json`
 * @param {{platform: string, arch: string}} machine
 */
export function lockMismatch(lock, installed, machine) {
  const wanted = lock.packages ?? {};
  const present = installed.packages ?? {};
  for (const [place, entry] of Object.entries(wanted)) {
    if (!place.startsWith("node_modules/")) continue;
    const found = present[place];
    if (found === undefined) {
      if (mayBeAbsent(entry, machine) || isOfAbsentOnes(place, entry, wanted, present)) continue;
      return `${place} ${entry.version ?? ""} is not installed`;
    }
    if (!suits(found, machine)) return `${place} was installed for another platform`;
    if (found.version !== entry.version) return `${place} is ${found.version}, not ${entry.version}`;
    // The address may be a mirror's; the content's hash is what counts, where there is one.
    const field = entry.integrity === undefined ? "resolved" : "integrity";
    if (entry[field] !== undefined && found[field] !== entry[field]) return `${place} has another ${field}`;
  }
  const extra = Object.keys(present).find((place) => wanted[place] === undefined);
  return extra === undefined ? undefined : `${extra} is not in package-lock.json`;
}

/**
 * @param {LockEntry} entry
 * @param {{platform: string, arch: string}} machine
 */
function mayBeAbsent(entry, machine) {
  if (entry.optional !== true && entry.devOptional !== true) return false;
  // npm chooses by the C library as well, which Node.js cannot tell cheaply.
  return !suits(entry, machine) || entry.libc !== undefined;
}

/**
 * Whether a package is there only for optional ones that are not installed here, such as one for WebAssembly.
 *
 * @param {string} place
 * @param {LockEntry} entry
 * @param {Record<string, LockEntry>} wanted
 * @param {Record<string, LockEntry>} present
 */
function isOfAbsentOnes(place, entry, wanted, present) {
  if (entry.optional !== true && entry.devOptional !== true) return false;
  const name = place.slice(place.lastIndexOf("node_modules/") + "node_modules/".length);
  const dependents = Object.entries(wanted).filter(([, { dependencies, optionalDependencies, peerDependencies }]) =>
    [dependencies, optionalDependencies, peerDependencies].some((names) => names?.[name] !== undefined),
  );
  return dependents.length > 0 && dependents.every(([dependent]) => present[dependent] === undefined);
}

/**
 * @param {LockEntry} entry
 * @param {{platform: string, arch: string}} machine
 */
function suits({ os, cpu }, { platform, arch }) {
  return allows(os, platform) && allows(cpu, arch);
}

/**
 * npm's `os` and `cpu` lists: names that are allowed, or with `!` names that are not.
 *
 * @param {string[] | undefined} list
 * @param {string} name
 */
function allows(list, name) {
  if (list === undefined || list.length === 0) return true;
  if (list.includes(`!${name}`)) return false;
  const allowed = list.filter((item) => !item.startsWith("!"));
  return allowed.length === 0 || allowed.includes(name);
}

/**
 * Whether the package is really there, in that version: an interrupted or hand-made removal does not show in npm's record.
 *
 * @param {string} root
 * @param {string} place
 * @param {LockEntry} entry
 */
function placeMismatch(root, place, entry) {
  if (entry.link === true || entry.version === undefined) return undefined;
  const { version } = readJson(path.join(root, place, "package.json")) ?? {};
  if (version === undefined) return `${place} is missing`;
  // npm's record has versions in their normal form; Pulumi's packages say `v4.5.0`.
  if (String(version).replace(/^[v=]+/, "") === entry.version) return undefined;
  return `${place} is ${version}, not ${entry.version}`;
}

/**
 * @param {string} file
 * @returns {Record<string, unknown> | undefined} undefined when there is no such file, or it is cut off
 */
function readJson(file) {
  let text;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return undefined;
    throw error;
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    if (file.includes("node_modules")) return undefined;
    throw new SetupError(
      `${file} is not valid JSON: ${error instanceof Error ? error.message : error}`,
      `git diff ${path.basename(file)} shows what was changed`,
    );
  }
}
