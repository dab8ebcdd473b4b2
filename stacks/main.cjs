"use strict";
// The entry point of every stack (`main` in Pulumi.yaml): picks the stack's program and runs it through tsx, so that
// TypeScript works alike on every version of Pulumi's Node.js host, without a build and without type checks.
const fs = require("node:fs");
const Module = require("node:module");
const path = require("node:path");

const CONFIG_KEY = "sluice:program";
/** The form in which hosts put the key into PULUMI_CONFIG; the SDK reads both forms, too. */
const LONG_CONFIG_KEY = "sluice:config:program";
/** A program's name becomes a path, so it must not lead out of this folder. */
const PROGRAM_NAME = /^[A-Za-z0-9][A-Za-z0-9_-]*$/;

const program = fileOf(programName());
// Parts of the SDK that programs rarely use, and that take most of the time in which it loads.
loadWhenUsed("@pulumi/pulumi/automation");
loadWhenUsed("@npmcli/arborist", "@pulumi/pulumi/runtime/closure/codePaths");
loadWhenUsed("typescript", "@pulumi/pulumi/typescript-shim");
registerTypeScript();
keepDebuggingCheap();
// The program's exports are the stack's outputs.
module.exports = require(program);

/** The stack's config decides, else the stack's own name; the host hands both over in the environment. */
function programName() {
  const { PULUMI_CONFIG, PULUMI_NODEJS_STACK } = process.env;
  const config = PULUMI_CONFIG === undefined ? { [CONFIG_KEY]: fromSdk().configured } : JSON.parse(PULUMI_CONFIG);
  return config[LONG_CONFIG_KEY] ?? config[CONFIG_KEY] ?? PULUMI_NODEJS_STACK ?? fromSdk().stack;
}

/** Only for hosts that do not use the environment: loading the SDK first just for this would cost time. */
function fromSdk() {
  const pulumi = require("@pulumi/pulumi");
  const [namespace, key] = CONFIG_KEY.split(":");
  return { configured: new pulumi.Config(namespace).get(key), stack: pulumi.getStack() };
}

function fileOf(name) {
  const candidates = PROGRAM_NAME.test(name) ? [`${name}/index.ts`, `${name}.ts`] : [];
  const found = candidates.map((file) => path.join(__dirname, file)).find((file) => fs.existsSync(file));
  if (found !== undefined) return found;
  const existing = fs.readdirSync(__dirname, { withFileTypes: true }).flatMap((entry) => {
    if (entry.isDirectory()) return fs.existsSync(path.join(__dirname, entry.name, "index.ts")) ? [entry.name] : [];
    return /\.ts$/.test(entry.name) && !/\.d\.ts$/.test(entry.name) ? [entry.name.slice(0, -".ts".length)] : [];
  });
  // Pulumi shows a RunError's message without a stack trace, which would only point here.
  const { RunError } = require("@pulumi/pulumi");
  throw new RunError(
    `there is no stack program ${JSON.stringify(name)} (stacks/${name}/index.ts or stacks/${name}.ts): ` +
      `set one that exists with "pulumi config set ${CONFIG_KEY} <program>": ${existing.sort().join(", ") || "there is none yet"}`,
  );
}

/**
 * Puts a stand-in into the module cache that loads the real module when something of it is used. Versions of the SDK differ
 * in what they are made of, so that what can't be found is left alone.
 * @param {string} name
 * @param {string} [user] the module that requires it, where it can't be found from here
 */
function loadWhenUsed(name, user) {
  const userFile = user === undefined ? __filename : found(require, user);
  const from = userFile === undefined ? undefined : Module.createRequire(userFile);
  const file = from === undefined ? undefined : found(from, name);
  if (file === undefined || require.cache[file] !== undefined) return;
  let real;
  const load = () => {
    if (real === undefined) {
      delete require.cache[file];
      real = from(name);
    }
    return real;
  };
  const standIn = new Module(file);
  standIn.filename = file;
  standIn.loaded = true;
  standIn.exports = new Proxy(
    {},
    {
      // Compiled imports read this first, of every module.
      get: (_, key) => (key === "__esModule" ? true : load()[key]),
      has: (_, key) => key in load(),
      ownKeys: () => Reflect.ownKeys(load()),
      getOwnPropertyDescriptor: (_, key) => ({ value: load()[key], enumerable: true, configurable: true }),
    },
  );
  require.cache[file] = standIn;
}

/**
 * Lets tsx compile what is not in a package. It looks through all code of packages, and node through their source maps, for
 * what hardly any of them has, which takes a third of a program's time; those that `require` can't load are left to it.
 */
function registerTypeScript() {
  const extensions = Module._extensions;
  const { ".js": plain } = extensions;
  require("tsx/cjs/api").register();
  const { ".js": compiled } = extensions;
  extensions[".js"] = (module, file) => {
    if (!file.includes(`${path.sep}node_modules${path.sep}`)) return compiled(module, file);
    process.setSourceMapsEnabled(false);
    try {
      return plain(module, file);
    } catch (error) {
      if (error.code !== "ERR_REQUIRE_ESM") throw error;
      return compiled(module, file);
    } finally {
      process.setSourceMapsEnabled(true);
    }
  };
}

/** The file of a module; nothing where there is none of that name. */
function found(from, name) {
  try {
    return from.resolve(name);
  } catch (error) {
    if (error.code === "MODULE_NOT_FOUND" || error.code === "ERR_PACKAGE_PATH_NOT_EXPORTED") return undefined;
    throw error;
  }
}

/**
 * For each resource the SDK sends three messages to the engine's debug log, whether that is shown or not, and takes a stack
 * trace, mapped to the sources, of each promise: a third of the time of a program with many resources.
 * PULUMI_DEBUG_PROMISE_LEAKS, which is the SDK's own variable to find its promises, leaves all as it is.
 */
function keepDebuggingCheap() {
  if (process.env.PULUMI_DEBUG_PROMISE_LEAKS) return;
  const { prepareStackTrace } = Error;
  if (prepareStackTrace !== undefined) {
    Error.prepareStackTrace = (error, frames) =>
      frames[0]?.getFunctionName() === "debuggablePromise" ? "" : prepareStackTrace(error, frames);
  }
  const log = require.cache[found(require, "@pulumi/pulumi/log")]?.exports;
  if (!Object.getOwnPropertyDescriptor(log ?? {}, "debug")?.writable) return;
  const { debug } = log;
  log.debug = (message, ...rest) =>
    /^(Registering resource|RegisterResource)/.test(message) ? Promise.resolve() : debug(message, ...rest);
}
