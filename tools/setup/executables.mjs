// @ts-check
import { accessSync, constants, realpathSync, statSync } from "node:fs";
import path from "node:path";

/**
 * Whether the file can be executed by this user.
 *
 * @param {string} file
 */
export function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    // Missing and not permitted both mean that it cannot be used.
    return false;
  }
}

/**
 * Every executable of that name in the folders, in order, each real file once.
 *
 * @param {string} name
 * @param {readonly string[]} folders
 */
export function findExecutables(name, folders) {
  /** @type {Map<string, string>} */
  const byRealPath = new Map();
  for (const folder of folders) {
    const file = path.join(folder, name);
    if (!isExecutable(file)) continue;
    const real = realpathSync(file);
    if (!byRealPath.has(real)) byRealPath.set(real, file);
  }
  return [...byRealPath.values()];
}

/**
 * The absolute folders of PATH; relative ones would depend on where a command happens to run.
 *
 * @param {NodeJS.ProcessEnv} env
 */
export function pathFolders(env) {
  return (env.PATH ?? "").split(path.delimiter).filter((folder) => path.isAbsolute(folder));
}

/**
 * The environment in which the folder's executables are found before all others.
 *
 * @param {NodeJS.ProcessEnv} env
 * @param {string} folder
 * @returns {NodeJS.ProcessEnv}
 */
export function withFolderFirst(env, folder) {
  const others = (env.PATH ?? "").split(path.delimiter).filter((entry) => entry !== "" && entry !== folder);
  return { ...env, PATH: [folder, ...others].join(path.delimiter) };
}

/**
 * The environment in which the folder's executables are found after all others.
 *
 * @param {NodeJS.ProcessEnv} env
 * @param {string} folder
 * @returns {NodeJS.ProcessEnv}
 */
export function withFolderLast(env, folder) {
  const others = (env.PATH ?? "").split(path.delimiter).filter((entry) => entry !== "" && entry !== folder);
  return { ...env, PATH: [...others, folder].join(path.delimiter) };
}
