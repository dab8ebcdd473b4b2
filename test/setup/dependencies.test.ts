import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import {
  installMismatch,
  lockMismatch,
  manifestMismatch,
  prepareDependencies,
} from "../../tools/setup/dependencies.mjs";
import { SetupError } from "../../tools/setup/errors.mjs";
import { double, fakeMachine } from "./doubles";

const machine = { platform: "linux", arch: "x64" };
const zod = { version: "4.6.7", integrity: "sha512-a" };
const nativeLinux = { version: "1.0.0", integrity: "sha512-l", optional: true, os: ["linux"], cpu: ["x64"] };
const nativeMac = { version: "1.0.0", integrity: "sha512-m", optional: true, os: ["darwin"], cpu: ["arm64"] };
const lock = {
  packages: { "": {}, "node_modules/zod": zod, "node_modules/linux": nativeLinux, "node_modules/mac": nativeMac },
};
const installed = { packages: { "node_modules/linux": nativeLinux, "node_modules/zod": zod } };

type Packages = Record<string, { version: string; integrity: string; [field: string]: unknown }>;

function withInstalled(place: string, entry: Packages[string] | undefined) {
  const { [place]: _, ...others }: Packages = installed.packages;
  return { packages: entry === undefined ? others : { ...others, [place]: entry } };
}

test("what npm installed matches the lock file whatever npm notes beside it, without other platforms' packages", () => {
  assert.equal(lockMismatch(lock, installed, machine), undefined);
  const noted = withInstalled("node_modules/zod", { ...zod, resolved: "https://mirror.example/zod.tgz", peer: true });
  assert.equal(lockMismatch(lock, noted, machine), undefined);
});

test("each kind of difference is named", () => {
  const cases: [Packages[string] | undefined, RegExp][] = [
    [undefined, /node_modules\/zod 4\.6\.7 is not installed/],
    [{ ...zod, version: "4.6.6" }, /node_modules\/zod is 4\.6\.6, not 4\.6\.7/],
    [{ ...zod, integrity: "sha512-b" }, /node_modules\/zod has another integrity/],
  ];
  for (const [entry, expected] of cases) {
    assert.match(lockMismatch(lock, withInstalled("node_modules/zod", entry), machine) ?? "", expected);
  }
  assert.match(
    lockMismatch(lock, withInstalled("node_modules/x", zod), machine) ?? "",
    /x is not in package-lock\.json/,
  );
});

test("this platform's optional package must be there, and a tree copied from another platform does not match", () => {
  assert.match(
    lockMismatch(lock, withInstalled("node_modules/linux", undefined), machine) ?? "",
    /linux .* not installed/,
  );
  const copied = { packages: { "node_modules/zod": zod, "node_modules/mac": nativeMac } };
  assert.notEqual(lockMismatch(lock, copied, machine), undefined);
  assert.equal(lockMismatch(lock, copied, { platform: "darwin", arch: "arm64" }), undefined);
});

test("what only another platform's package needs may be absent", () => {
  const mac = { ...nativeMac, dependencies: { helper: "1.0.0" } };
  const helper = { version: "1.0.0", integrity: "sha512-h", optional: true };
  const withHelper = { packages: { ...lock.packages, "node_modules/mac": mac, "node_modules/helper": helper } };
  assert.equal(lockMismatch(withHelper, installed, machine), undefined);
  const linux = { ...nativeLinux, dependencies: { helper: "1.0.0" } };
  const needed = { packages: { ...withHelper.packages, "node_modules/linux": linux } };
  assert.match(lockMismatch(needed, installed, machine) ?? "", /helper .* not installed/);
});

test("a dependency that was edited in package.json only does not match", () => {
  const locked = { packages: { "": { dependencies: { zod: "4.6.7" } } } };
  assert.equal(manifestMismatch({ dependencies: { zod: "4.6.7" } }, locked), undefined);
  assert.match(manifestMismatch({ dependencies: { zod: "4.6.8" } }, locked) ?? "", /zod 4\.6\.8 .* 4\.6\.7/);
  assert.match(manifestMismatch({ devDependencies: { ws: "1.0.0" } }, locked) ?? "", /zod|ws/);
});

/** npm itself would need a registry; this one installs the lock file's only package and counts its runs. */
const NPM_DOUBLE = `
echo run >> npm.log
mkdir -p node_modules/zod
echo '{"version":"v4.6.7"}' > node_modules/zod/package.json
echo '{"packages":{"node_modules/zod":{"version":"4.6.7","integrity":"sha512-a"}}}' > node_modules/.package-lock.json`;

test("npm ci runs when nothing is installed, when a package's folder is gone, and otherwise not", async (t) => {
  const { folder, bin, context } = fakeMachine(t);
  const manifest = { dependencies: { zod: "4.6.7" } };
  writeFileSync(path.join(folder, "package.json"), JSON.stringify(manifest));
  const packages = { "": manifest, "node_modules/zod": zod };
  writeFileSync(path.join(folder, "package-lock.json"), JSON.stringify({ packages }));
  double(bin, "npm", NPM_DOUBLE);
  const runs = () => readFileSync(path.join(folder, "npm.log"), "utf8").trim().split("\n").length;

  assert.equal(installMismatch(folder), "nothing is installed yet");
  await Promise.all([prepareDependencies(context), prepareDependencies(context)]);
  assert.equal(runs(), 1);
  await prepareDependencies(context);
  assert.equal(runs(), 1);
  rmSync(path.join(folder, "node_modules/zod"), { recursive: true });
  assert.equal(installMismatch(folder), "node_modules/zod is missing");
  await prepareDependencies(context);
  assert.equal(runs(), 2);
});

test("npm ci is refused while another command runs with what is installed, and only then", async (t) => {
  const { folder, bin, context } = fakeMachine(t);
  const packages = { "": {}, "node_modules/zod": zod };
  writeFileSync(path.join(folder, "package.json"), "{}");
  writeFileSync(path.join(folder, "package-lock.json"), JSON.stringify({ packages }));
  double(bin, "npm", NPM_DOUBLE);
  await prepareDependencies(context);
  const code = `import { prepareDependencies } from ${JSON.stringify(path.resolve("tools/setup/dependencies.mjs"))};
    await prepareDependencies({ ...${JSON.stringify(context)}, say: () => {} });
    console.log("set up");
    setInterval(() => {}, 1000);`;
  const command = spawn(process.execPath, ["--input-type=module", "-e", code], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => command.kill("SIGKILL"));
  await once(command.stdout, "data");
  rmSync(path.join(folder, "node_modules/zod"), { recursive: true });
  await assert.rejects(
    prepareDependencies(context),
    new RegExp(`node_modules/zod is missing, and npm can't install that under .* \\(pid ${command.pid}\\)$`),
  );
  const gone = once(command, "exit");
  // Nobody removes its note.
  command.kill("SIGKILL");
  await gone;
  await prepareDependencies(context);
  assert.equal(installMismatch(folder), undefined);
});

test("a failing npm ci is reported with npm's own words", async (t) => {
  const { folder, bin, context } = fakeMachine(t);
  mkdirSync(path.join(folder, "node_modules"));
  writeFileSync(path.join(folder, "package.json"), "{}");
  writeFileSync(path.join(folder, "package-lock.json"), "{}");
  double(bin, "npm", "echo 'npm error ENOSPC' >&2; exit 228");
  await assert.rejects(prepareDependencies(context), (error) => {
    assert.ok(error instanceof SetupError);
    assert.match(error.message, /npm ci .* exited with 228/);
    assert.equal(error.output, "npm error ENOSPC");
    return true;
  });
});
