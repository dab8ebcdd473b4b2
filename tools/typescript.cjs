"use strict";
// `node --require tools/typescript.cjs FILE.ts`: runs the checkout's TypeScript as tsx does, from files that one esbuild for
// all of them has compiled before (`compileAll`), which takes a third of the time in which a test file loads.
const fs = require("node:fs");
const Module = require("node:module");
const path = require("node:path");
const { pathToFileURL } = require("node:url");

const ROOT = path.resolve(__dirname, "..");
const OUT = path.join(ROOT, ".sluice", "compiled");
const FOLDERS = ["bench", "components", "policies", "src", "stacks", "test", "tools"];
/** Output older than one of these was compiled in another way. */
const COMPILERS = [__filename, path.join(ROOT, "package-lock.json")];

/** @type {import("esbuild").CommonOptions} */
const OPTIONS = {
  platform: "node",
  target: "node20",
  format: "cjs",
  minifyWhitespace: true,
  legalComments: "none",
  logLevel: "silent",
  // Late imports may be TypeScript, too.
  supported: { "dynamic-import": false },
  define: { "import.meta.url": "__sluice_url" },
};

/** Compiles all TypeScript of the checkout that has changed since it was. Safe for callers at the same time. */
function compileAll() {
  const since = Math.max(...COMPILERS.map(timeOf));
  const stale = FOLDERS.flatMap((folder) =>
    fs
      .readdirSync(path.join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .map((file) => path.join(ROOT, folder, file)),
  ).filter((file) => timeOf(outputOf(file)) < Math.max(since, timeOf(file)));
  if (stale.length === 0) return;
  // The map first: whoever finds the code finds it, too.
  for (const { path: file, contents } of build(stale).sort((a, b) => b.path.length - a.path.length)) {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(`${file}.${process.pid}`, contents);
    fs.renameSync(`${file}.${process.pid}`, file);
  }
}

/** @param {string[]} files */
function build(files) {
  try {
    return require("esbuild").buildSync({
      ...OPTIONS,
      absWorkingDir: ROOT,
      entryPoints: files.map((file) => ({ in: file, out: path.relative(ROOT, file) })),
      outdir: OUT,
      sourcemap: "external",
      write: false,
    }).outputFiles;
  } catch (error) {
    // A mistake in one file is for those to report that load it, and no reason not to run the others.
    if (error instanceof Error && "errors" in error) return [];
    throw error;
  }
}

/** @param {string} file a module of the checkout */
function outputOf(file) {
  return `${path.join(OUT, path.relative(ROOT, file))}.js`;
}

/** @param {string} file @returns {number} 0 where there is none */
function timeOf(file) {
  return fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/** Source maps, read when a stack trace is first asked for. @type {Map<string, () => string>} */
const maps = new Map();
/** @type {Map<string, Module.SourceMap>} */
const parsed = new Map();

/** @param {string} file */
function codeOf(file) {
  const output = outputOf(file);
  if (!path.relative(ROOT, file).startsWith("..") && timeOf(output) >= timeOf(file)) {
    maps.set(file, () => fs.readFileSync(`${output}.map`, "utf8"));
    return fs.readFileSync(output, "utf8");
  }
  const source = fs.readFileSync(file, "utf8");
  const { code, map } = require("esbuild").transformSync(source, {
    ...OPTIONS,
    loader: file.endsWith(".ts") ? "ts" : "js",
    sourcefile: file,
    sourcemap: "external",
  });
  maps.set(file, () => map);
  return code;
}

/**
 * A stack trace's line with the place in the source.
 *
 * @param {NodeJS.CallSite} frame
 */
function mapped(frame) {
  const file = frame.getFileName() ?? "";
  const read = maps.get(file);
  if (read === undefined) return `${frame}`;
  const map = parsed.get(file) ?? new Module.SourceMap(JSON.parse(read()));
  parsed.set(file, map);
  const [line, column] = [frame.getLineNumber() ?? 1, frame.getColumnNumber() ?? 1];
  const { originalLine, originalColumn } = /** @type {Module.SourceMapping} */ (map.findEntry(line - 1, column - 1));
  if (originalLine === undefined) return `${frame}`;
  return `${frame}`.replace(`${file}:${line}:${column}`, `${file}:${originalLine + 1}:${originalColumn + 1}`);
}

module.exports = { compileAll };

// Only a file that was preloaded is to change how others are.
if (require.main === undefined) {
  // @ts-expect-error: not declared, since they are deprecated; nothing takes their place for `require`.
  const extensions = Module._extensions;
  const given = extensions[".mjs"];
  /** @param {any} module @param {string} file */
  extensions[".ts"] = (module, file) => {
    const code = codeOf(file);
    const url = code.includes("__sluice_url") ? `const __sluice_url=${JSON.stringify(pathToFileURL(file).href)};` : "";
    module._compile(`${url}${code}`, file);
  };
  /** @param {any} module @param {string} file */
  extensions[".mjs"] = (module, file) =>
    file.includes(`${path.sep}node_modules${path.sep}`) ? given(module, file) : extensions[".ts"](module, file);
  Error.prepareStackTrace = (error, frames) =>
    [Error.prototype.toString.call(error), ...frames.map((frame) => `    at ${mapped(frame)}`)].join("\n");
}
