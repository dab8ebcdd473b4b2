// @ts-check
import { createHash } from "node:crypto";
import { chmodSync, copyFileSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { runCommand } from "../setup/command.mjs";
import { SetupError } from "../setup/errors.mjs";
import { findExecutables, pathFolders } from "../setup/executables.mjs";
import { parseVersion } from "../setup/version.mjs";
import { engineCacheRoot, fillOnce, isComplete } from "./cache.mjs";

/** The newest CLI that runs policy packs with the language host below; see the note on each in its go.mod. */
export const BUILT_ENGINE_VERSION = "3.220.0";
/** The last release of the language host that is part of a module which the Go proxy can serve. */
const LANGUAGE_HOST_VERSION = "3.68.0";
const LANGUAGE_HOST_MODULE = "github.com/pulumi/pulumi/sdk/v3";
const BUILD_DEADLINE_MS = 20 * 60_000;
const OLDEST_GO = "1.24.7";

/** Scripts of the language host's module that the engine runs for policy packs and dynamic providers. */
const SCRIPTS = ["pulumi-analyzer-policy", "pulumi-resource-pulumi-nodejs"];
const LANGUAGE_HOST = "pulumi-language-nodejs";
/**
 * Takes the language host's place. It is older than the CLI, which tells newer ones by `runtime.options.typescript` in Pulumi.yaml not
 * to load a compiler of their own: stacks/main.cjs and policies/main.cjs bring one, and it takes longer than all else.
 */
const LAUNCHER = `#!/bin/sh
exec "\${0%/*}/${LANGUAGE_HOST}-real" -typescript=false "$@"
`;
const EXECUTABLES = ["pulumi", LANGUAGE_HOST, `${LANGUAGE_HOST}-real`, ...SCRIPTS];

/** @param {string} version */
const goArguments = (version) => [
  "build",
  "-mod=readonly",
  "-buildvcs=false",
  "-trimpath",
  "-ldflags",
  `-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v${version}`,
];

const PROGRAMS = [
  {
    folder: fileURLToPath(new URL("./language-nodejs", import.meta.url)),
    package: `${LANGUAGE_HOST_MODULE}/nodejs/cmd/pulumi-language-nodejs`,
    version: LANGUAGE_HOST_VERSION,
  },
  {
    folder: fileURLToPath(new URL("./cli", import.meta.url)),
    package: "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    version: BUILT_ENGINE_VERSION,
  },
];

/**
 * The folder of the built engine: its name changes with everything that decides what is built.
 *
 * @param {NodeJS.ProcessEnv} env
 */
export function builtEngineFolder(env) {
  const hash = createHash("sha256").update(`${process.platform} ${process.arch}\n${LAUNCHER}`);
  for (const program of PROGRAMS) {
    hash.update(`${program.package} ${goArguments(program.version).join(" ")}\n`);
    for (const name of ["go.mod", "go.sum"]) hash.update(readFileSync(path.join(program.folder, name)));
  }
  return path.join(engineCacheRoot(env), `${BUILT_ENGINE_VERSION}-${hash.digest("hex").slice(0, 12)}`);
}

/**
 * The folder with the executables of the engine built earlier, if it is there.
 *
 * @param {NodeJS.ProcessEnv} env
 * @returns {string | undefined}
 */
export function findBuiltEngine(env) {
  const folder = builtEngineFolder(env);
  return isComplete(folder, EXECUTABLES) ? path.join(folder, "bin") : undefined;
}

/**
 * Builds the pinned Pulumi CLI and its Node.js language host with Go, once per user.
 *
 * @param {{env: NodeJS.ProcessEnv, say: (text: string) => void}} options
 * @returns {Promise<string>} the folder with the executables
 * @throws {SetupError} when Go is missing or the build fails, with Go's output
 */
export async function buildEngine({ env, say }) {
  const folder = builtEngineFolder(env);
  const go = findExecutables("go", pathFolders(env))[0];
  if (go === undefined) {
    throw new SetupError(
      "no usable Pulumi engine was found, and the Go compiler that could build one is not on PATH",
      `install the Pulumi CLI (curl -fsSL https://get.pulumi.com | sh), or Go >= ${OLDEST_GO} (https://go.dev/dl), and run this again`,
    );
  }
  await fillOnce({ folder, executables: EXECUTABLES, say }, async (temporaryFolder) => {
    say(
      `building the Pulumi CLI ${BUILT_ENGINE_VERSION} and its Node.js host with ${go}, about 2.5 minutes on 2 cores`,
    );
    const bin = path.join(temporaryFolder, "bin");
    for (const program of PROGRAMS) {
      const args = [...goArguments(program.version), "-o", path.join(bin, path.basename(program.package))];
      await runGo(go, [...args, program.package], program.folder, env);
    }
    renameSync(path.join(bin, LANGUAGE_HOST), path.join(bin, `${LANGUAGE_HOST}-real`));
    writeFileSync(path.join(bin, LANGUAGE_HOST), LAUNCHER, { mode: 0o755 });
    await copyScripts(go, bin, env);
    await verifyVersion(bin, env);
  });
  return path.join(folder, "bin");
}

/**
 * @param {string} go
 * @param {string[]} args
 * @param {string} cwd
 * @param {NodeJS.ProcessEnv} env
 */
async function runGo(go, args, cwd, env) {
  // Settings for somebody's own Go work (a workspace, a cross build) must not change what is built here.
  const { GOOS: _os, GOARCH: _arch, ...rest } = env;
  const goEnv = { ...rest, GOWORK: "off", CGO_ENABLED: "0" };
  const result = await runCommand(go, args, { env: goEnv, cwd, timeoutMs: BUILD_DEADLINE_MS });
  if (result.ok) return result.stdout;
  throw new SetupError(
    `building the Pulumi engine failed: \`go ${args[0]}\` in ${cwd} ${result.failure}`,
    `check that Go is >= ${OLDEST_GO} (go version) and that its module proxy can be reached (go env GOPROXY); or install the Pulumi CLI (curl -fsSL https://get.pulumi.com | sh)`,
    result.output,
  );
}

/**
 * @param {string} go
 * @param {string} bin
 * @param {NodeJS.ProcessEnv} env
 */
async function copyScripts(go, bin, env) {
  const { folder } = /** @type {typeof PROGRAMS[0]} */ (PROGRAMS[0]);
  const listed = await runGo(go, ["list", "-mod=readonly", "-m", "-f", "{{.Dir}}", LANGUAGE_HOST_MODULE], folder, env);
  for (const name of SCRIPTS) {
    const target = path.join(bin, name);
    copyFileSync(path.join(listed.trim(), "nodejs", "dist", name), target);
    chmodSync(target, 0o755);
  }
}

/**
 * @param {string} bin
 * @param {NodeJS.ProcessEnv} env
 */
async function verifyVersion(bin, env) {
  const pulumi = path.join(bin, "pulumi");
  const quiet = { ...env, PULUMI_SKIP_UPDATE_CHECK: "true" };
  const result = await runCommand(pulumi, ["version"], { env: quiet, timeoutMs: 30_000 });
  if (result.ok && parseVersion(result.stdout) === BUILT_ENGINE_VERSION) return;
  throw new SetupError(
    `the Pulumi engine that was built does not run: \`pulumi version\` ${result.failure || `says ${result.stdout.trim()}`}`,
    "look at the output above; go clean -cache makes the next run build from scratch",
    result.output,
  );
}
