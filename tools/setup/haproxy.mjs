// @ts-check
import path from "node:path";
import { runCommand } from "./command.mjs";
import { SetupError } from "./errors.mjs";
import { findExecutables, pathFolders, withFolderFirst, withFolderLast } from "./executables.mjs";
import { atLeast, parseVersion } from "./version.mjs";

const OLDEST_HAPROXY = "2.6";
const VERSION_DEADLINE_MS = 5_000;
const APT_DEADLINE_MS = 5 * 60_000;

/**
 * @typedef {object} Executable
 * @property {string} path
 * @property {string} version
 */

/**
 * Finds HAProxy >= 2.6 on PATH or where systems put it, or installs it as root on Debian and Ubuntu.
 *
 * @param {import("./setup.mjs").SetupContext} context
 * @returns {Promise<import("./setup.mjs").StepResult & {haproxy: Executable}>}
 */
export async function prepareHaproxy(context) {
  let { found, rejected } = await findHaproxy(context);
  if (found === undefined) {
    await install(context, rejected);
    ({ found, rejected } = await findHaproxy(context));
  }
  if (found === undefined) {
    throw new SetupError(
      `HAProxy was installed, but ${rejected.join("; ") || "no haproxy executable is to be found"}`,
      installCommand(context, true).remedy,
    );
  }
  return { summary: `${found.version} (${found.path})`, haproxy: found, env: environmentFor(context, found) };
}

/**
 * @param {import("./setup.mjs").SetupContext} context
 * @returns {Promise<{found: Executable | undefined, rejected: string[]}>}
 */
async function findHaproxy({ env, machine }) {
  const rejected = [];
  for (const file of findExecutables("haproxy", [...pathFolders(env), ...machine.systemFolders])) {
    const result = await runCommand(file, ["-v"], { env, timeoutMs: VERSION_DEADLINE_MS });
    const version = result.ok ? parseVersion(result.stdout) : undefined;
    if (version === undefined)
      rejected.push(`${file} is unusable: \`haproxy -v\` ${result.failure || "says no version"}`);
    else if (!atLeast(version, OLDEST_HAPROXY)) rejected.push(`${file} is ${version}, older than ${OLDEST_HAPROXY}`);
    else return { found: { path: file, version }, rejected };
  }
  return { found: undefined, rejected };
}

/**
 * Makes the HAProxy that was found the one that its name starts, and leaves the order of all other programs on PATH.
 *
 * @param {import("./setup.mjs").SetupContext} context
 * @param {Executable} haproxy
 */
function environmentFor({ env }, haproxy) {
  const onPath = findExecutables("haproxy", pathFolders(env))[0];
  if (onPath === haproxy.path) return env;
  const folder = path.dirname(haproxy.path);
  return onPath === undefined ? withFolderLast(env, folder) : withFolderFirst(env, folder);
}

/**
 * @param {import("./setup.mjs").SetupContext} context
 * @param {string[]} rejected
 */
async function install(context, rejected) {
  const { env, machine, say } = context;
  const problem = rejected.length > 0 ? rejected.join("; ") : `no HAProxy >= ${OLDEST_HAPROXY} on this machine`;
  const { packageManager, remedy } = installCommand(context, rejected.length > 0);
  if (packageManager !== "apt-get" || !machine.isRoot) throw new SetupError(problem, remedy);

  /** @param {string[]} args */
  const apt = (...args) =>
    runCommand("apt-get", ["-o", "DPkg::Lock::Timeout=60", ...args], {
      env: { ...env, DEBIAN_FRONTEND: "noninteractive" },
      timeoutMs: APT_DEADLINE_MS,
    });
  say(`apt-get install haproxy, because ${problem}`);
  const installArgs = ["install", "-y", "--no-install-recommends", "haproxy"];
  const first = await apt(...installArgs);
  if (first.ok) return;
  // The package lists are absent in fresh containers and outdated on old machines.
  say("apt-get update, because that failed with the package lists as they are");
  const update = await apt("update");
  const second = await apt(...installArgs);
  if (second.ok) return;
  throw new SetupError(
    `\`apt-get install haproxy\` ${second.failure}`,
    `see apt's message above, then: ${remedy}`,
    [update.ok ? "" : update.output, second.output].join("\n").trim(),
  );
}

/**
 * The one command that puts a new enough HAProxy on this machine.
 *
 * @param {import("./setup.mjs").SetupContext} context
 * @param {boolean} hasOldOne the system's own package may be what is too old
 */
function installCommand({ env, machine }, hasOldOne) {
  const sudo = machine.isRoot ? "" : "sudo ";
  /** @type {[string, string][]} */
  const managers = [
    ["apt-get", `${sudo}apt-get install -y haproxy`],
    ["dnf", `${sudo}dnf install -y haproxy`],
    ["yum", `${sudo}yum install -y haproxy`],
    ["apk", `${sudo}apk add haproxy`],
    ["pacman", `${sudo}pacman -S --noconfirm haproxy`],
    ["zypper", `${sudo}zypper install -y haproxy`],
    ["brew", "brew install haproxy"],
  ];
  const present = managers.find(([name]) => findExecutables(name, pathFolders(env)).length > 0);
  const [packageManager, command] = present ?? [undefined, undefined];
  const newer = `https://haproxy.debian.net has newer packages for Debian and Ubuntu, https://www.haproxy.org the source`;
  if (command === undefined) return { packageManager, remedy: `install HAProxy >= ${OLDEST_HAPROXY}: ${newer}` };
  return { packageManager, remedy: hasOldOne ? `${command} (if that is the old one: ${newer})` : command };
}
