// @ts-check
// `node tools/run.mjs demo|test|soak|bench [args]`: sets this machine up, then runs the command.
import { readdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { refuseOldNode } from "./setup/node-version.mjs";

refuseOldNode();
const root = path.resolve(fileURLToPath(new URL("..", import.meta.url)));
// Loaded only now: an older Node.js may not even be able to read them.
const { setupOrExit } = await import("./setup/or-exit.mjs");
const { findTestFiles } = await import("./tests/files.mjs");
const { runForward } = await import("./forward.mjs");
const { compileAll } = (await import("./typescript.cjs")).default;

const [command = "", ...args] = process.argv.slice(2);
/**
 * Tests that take too long for every run, by name: what they run, and the variables that make them long.
 * @type {Record<string, {files: string[], env: Record<string, string>}>}
 */
const SOAKS = {
  crashes: { files: ["test/faults/crashes.test.ts"], env: { SLUICE_CRASH_SECONDS: "600", SLUICE_CRASH_RATE: "500" } },
  faults: {
    files: ["agent", "cancel", "deployer", "disk", "haproxy", "reboot"].map((name) => `test/faults/${name}.test.ts`),
    env: { SLUICE_RANDOM_FAULTS: "40" },
  },
  reloads: { files: ["test/agent/haproxy/reload.test.ts"], env: { SLUICE_RELOADS: "200" } },
  splits: {
    files: ["test/agent/haproxy/pool-shares.test.ts", "test/agent/haproxy/routes.test.ts"],
    env: { SLUICE_SPLIT_REQUESTS: "200000" },
  },
  sequences: { files: ["test/faults/sequences.test.ts"], env: { SLUICE_SEQUENCES: "200", SLUICE_HOSTS: "4" } },
};

const nodeArgs = nodeArguments(command, args);
const { env } = await setupOrExit(root);
const soakEnv = command === "soak" ? { ...SOAKS[args[0] ?? ""]?.env, ...env } : env;
console.log("");
// The demo keeps to one folder, in which it ends itself what it, or one before it, has left.
const reaped = command !== "demo";
await runForward(process.execPath, [...loaderArguments(command), ...nodeArgs], { cwd: root, env: soakEnv, reaped });
// A connection that the set-up opened may still be kept alive.
process.exit();

/**
 * How node is to run TypeScript. Tests start so many processes that it pays to compile everything before.
 *
 * @param {string} name
 * @returns {string[]}
 */
function loaderArguments(name) {
  if (name !== "test") return ["--import", "tsx"];
  compileAll();
  return ["--require", path.join(root, "tools", "typescript.cjs")];
}

/**
 * @param {string} name
 * @param {string[]} rest
 * @returns {string[]}
 */
function nodeArguments(name, rest) {
  if (name === "demo") return ["test/demo/main.ts", ...storyArguments(rest)];
  if (name === "readmes") return ["tools/ci/readmes.mjs"];
  if (name === "bench") return ["bench/main.ts", ...rest];
  if (name === "soak") {
    const soak = SOAKS[rest[0] ?? ""];
    if (soak === undefined || rest.length > 1) return refuse(`soak takes one of ${Object.keys(SOAKS).join(", ")}`);
    return ["--test", ...soak.files];
  }
  if (name !== "test") return refuse(`unknown command "${name}"; use demo, test, soak or bench`);
  const option = rest.find((arg) => arg.startsWith("-"));
  if (option !== undefined) return refuse(`test takes parts of test files' paths (npm test -- agent), not ${option}`);
  const files = findTestFiles(root, rest);
  if (files.length === 0) return refuse(`no test file below test/ has ${rest.join(" or ") || ".test.ts"} in its path`);
  return ["tools/tests/main.mjs", ...files];
}

/**
 * A story that there is, before minutes go into the set-up for one that there is not.
 *
 * @param {string[]} rest
 * @returns {string[]}
 */
function storyArguments(rest) {
  const stories = readdirSync(path.join(root, "test", "demo", "stories"), "utf8").map((file) => path.parse(file).name);
  const [story, more] = rest.filter((arg) => arg !== "--open");
  if (more === undefined && (story === undefined || stories.includes(story))) return rest;
  return refuse(`demo takes one of ${stories.sort().join(", ")}, and --open, not ${rest.join(" ")}`);
}

/**
 * @param {string} message
 * @returns {never}
 */
function refuse(message) {
  console.error(message);
  process.exit(1);
}
