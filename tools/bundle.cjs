"use strict";
// Bundles Sluice's own programs into one CommonJS file each, so that they start fast and a running one does not
// change under an edit. Plain CommonJS: the launchers need it before anything is compiled.
const crypto = require("node:crypto");
const fs = require("node:fs");
const Module = require("node:module");
const path = require("node:path");
const vm = require("node:vm");

const ROOT = path.resolve(__dirname, "..");
const OUT = path.join(ROOT, ".sluice", "build");
const MANIFEST = path.join(OUT, "manifest.json");
/** Bundles of one name that stay on disk: a process that was just told the path of an older one must still find it. */
const KEPT = 4;
/** Takes the place of the content hash while that is being computed; of the same length, to keep source maps right. */
const HASH_PLACEHOLDER = "0sluice0";

const AGENT = ["src/model", "src/evidence", "src/agent"];
const BUNDLES = {
  agent: { entry: "src/agent/main.ts", folders: AGENT },
  provider: { entry: "src/provider/main.ts", folders: [...AGENT, "src/migrations", "src/parity", "src/provider"] },
  cli: { entry: "src/cli/main.ts", folders: ["src"] },
};
/** Their changes rebuild every bundle. */
const SHARED = ["package.json", "package-lock.json", "tools/bundle.cjs"];

/**
 * The path of the bundle, built first if any source has changed since. Safe for callers at the same time.
 * @param {"agent" | "provider" | "cli"} name
 * @returns {string}
 * @throws Error with esbuild's messages where the sources do not build
 */
function ensureBundle(name) {
  return describeBundle(name).path;
}

/**
 * Like `ensureBundle`; the version is package.json's plus the first 8 hex digits of the content's hash.
 * @param {"agent" | "provider" | "cli"} name
 * @returns {{path: string, version: string}}
 */
function describeBundle(name) {
  const bundle = BUNDLES[name];
  if (bundle === undefined) throw new Error(`there is no bundle ${name}: there are ${Object.keys(BUNDLES).join(", ")}`);
  const signature = signatureOf(bundle.folders);
  const known = readManifest()[name];
  if (known?.signature === signature && known.files.every((file) => fs.existsSync(path.join(OUT, file)))) {
    return { path: path.join(OUT, known.files[0]), version: known.version };
  }
  // Programs that start agents name the very bundle that they were built with.
  const agent = name === "agent" ? undefined : describeBundle("agent");
  const { file, version } = build(name, bundle.entry, agent);
  const files = agent ? [file, path.basename(agent.path)] : [file];
  writeAtomically(MANIFEST, JSON.stringify({ ...readManifest(), [name]: { files, version, signature } }, null, 2));
  prune(name);
  return { path: path.join(OUT, file), version };
}

/** Names, sizes and times of all sources: reading a few hundred inodes takes milliseconds, their content does not matter. */
function signatureOf(folders) {
  const hash = crypto.createHash("sha256");
  const add = (file) => {
    const { size, mtimeMs } = fs.statSync(path.join(ROOT, file));
    hash.update(`${file}\0${size}\0${mtimeMs}\n`);
  };
  for (const file of SHARED) add(file);
  for (const folder of folders) {
    const entries = fs.readdirSync(path.join(ROOT, folder), { recursive: true });
    for (const entry of entries.sort()) if (/\.(ts|cjs|json)$/.test(entry)) add(path.join(folder, entry));
  }
  return hash.digest("hex");
}

function readManifest() {
  try {
    return JSON.parse(fs.readFileSync(MANIFEST, "utf8"));
  } catch (error) {
    // Only a cache: a lost or broken one is built again.
    if (error.code === "ENOENT" || error instanceof SyntaxError) return {};
    throw error;
  }
}

function build(name, entry, agent) {
  const started = performance.now();
  const { version } = JSON.parse(fs.readFileSync(path.join(ROOT, "package.json"), "utf8"));
  const define = { SLUICE_BUILD_VERSION: JSON.stringify(`${version}+${HASH_PLACEHOLDER}`) };
  if (agent) define.SLUICE_AGENT = JSON.stringify({ file: path.basename(agent.path), version: agent.version });
  const { code, map } = compile(name, entry, define);
  const hash = crypto.createHash("sha256").update(code).digest("hex").slice(0, HASH_PLACEHOLDER.length);
  const file = `${name}-${hash}.cjs`;
  fs.mkdirSync(OUT, { recursive: true });
  writeAtomically(path.join(OUT, `${file}.map`), map);
  writeAtomically(path.join(OUT, file), code.replaceAll(HASH_PLACEHOLDER, hash));
  process.stderr.write(`sluice: bundled the ${name} in ${Math.round(performance.now() - started)} ms\n`);
  return { file, version: `${version}+${hash}` };
}

/** How esbuild makes a bundle. */
function buildOptions(name, entry, define) {
  return {
    absWorkingDir: ROOT,
    entryPoints: [entry],
    outfile: path.join(OUT, `${name}.cjs`),
    bundle: true,
    platform: "node",
    target: "node20",
    format: "cjs",
    sourcemap: "external",
    legalComments: "none",
    logLevel: "silent",
    write: false,
    define,
    // They bring files of their own (WebAssembly), or much more than is ever used; they are loaded when needed.
    external: ["libpg-query", "node-sql-parser"],
    // A bundle runs as a plain script, which can't import anything as modules do.
    supported: { "dynamic-import": false },
  };
}

function compile(name, entry, define) {
  const esbuild = require("esbuild");
  try {
    const { outputFiles } = esbuild.buildSync(buildOptions(name, entry, define));
    const [map, code] = outputFiles.sort((a, b) => b.path.localeCompare(a.path)).map((output) => output.text);
    return { code, map };
  } catch (error) {
    if (!error.errors) throw error;
    const messages = esbuild.formatMessagesSync(error.errors, { kind: "error", color: false });
    throw new Error(`sluice: the ${name} does not build:\n${messages.join("")}`, { cause: error });
  }
}

function writeAtomically(target, content) {
  const temporary = `${target}.${process.pid}.tmp`;
  fs.writeFileSync(temporary, content);
  fs.renameSync(temporary, target);
}

function prune(name) {
  const ours = new RegExp(`^${name}-[0-9a-f]{8}\\.cjs$`);
  const age = (file) => fs.statSync(path.join(OUT, file), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const files = fs.readdirSync(OUT);
  const old = files
    .filter((file) => ours.test(file))
    .sort((a, b) => age(b) - age(a))
    .slice(KEPT);
  // Left by a killed build: the process in its name is gone.
  const leftovers = files.filter((file) => /\.(\d+)\.tmp$/.test(file) && !isAlive(Number(file.split(".").at(-2))));
  for (const file of [...old.flatMap((name) => [name, `${name}.map`, `${name}.cache`]), ...leftovers]) {
    fs.rmSync(path.join(OUT, file), { force: true });
  }
}

/**
 * Runs a bundle in this process, like `require`, with V8's compiled code kept beside it (a third off the start-up time).
 * The cache is written when the process that first ran the bundle ends, as only then V8 has compiled what is used.
 * @param {string} file path that `ensureBundle` gave
 */
function load(file) {
  const cache = `${file}.cache`;
  const cachedData = fs.existsSync(cache) ? fs.readFileSync(cache) : undefined;
  const wrapped = Module.wrap(fs.readFileSync(file, "utf8"));
  const script = new vm.Script(wrapped, { filename: file, ...(cachedData && { cachedData }) });
  if (cachedData === undefined || script.cachedDataRejected) {
    process.on("exit", () => {
      try {
        writeAtomically(cache, script.createCachedData());
      } catch (error) {
        process.stderr.write(`sluice: no start-up cache was written: ${error.message}\n`);
      }
    });
  }
  const loaded = new Module(file, module);
  loaded.filename = file;
  script.runInThisContext()(loaded.exports, Module.createRequire(file), loaded, file, path.dirname(file));
  return loaded.exports;
}

function isAlive(pid) {
  return fs.existsSync(`/proc/${pid}`) || !fs.existsSync("/proc/self");
}

module.exports = { buildOptions, ensureBundle, describeBundle, load };

if (require.main === module) {
  for (const name of process.argv.length > 2 ? process.argv.slice(2) : Object.keys(BUNDLES)) {
    try {
      console.log(ensureBundle(name));
    } catch (error) {
      console.error(error.message);
      process.exit(1);
    }
  }
}
