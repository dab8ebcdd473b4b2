import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { promisify } from "node:util";
import { until } from "../../support/until";

const REPOSITORY = path.resolve(__dirname, "../../..");
const run = promisify(execFile);

/** A project with the real bundler and launcher, and programs of a few lines. */
function project(t: TestContext) {
  const root = mkdtempSync(path.join(os.tmpdir(), "sl-bundle-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const write = (file: string, content: string) => {
    mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
    writeFileSync(path.join(root, file), content);
  };
  for (const file of ["package.json", "package-lock.json", "tools/bundle.cjs", "src/provider/pulumi-resource-sluice"]) {
    cpSync(path.join(REPOSITORY, file), path.join(root, file));
  }
  symlinkSync(path.join(REPOSITORY, "node_modules"), path.join(root, "node_modules"));
  write("src/model/names.ts", "export const greeting: string = 'hello';");
  write("src/agent/main.ts", "import { greeting } from '../model/names'; console.log(greeting, SLUICE_BUILD_VERSION);");
  for (const folder of ["evidence", "migrations", "parity"]) write(`src/${folder}/none.ts`, "export {};");
  write(
    "src/provider/main.ts",
    "console.log(JSON.stringify({ ...SLUICE_AGENT, own: SLUICE_BUILD_VERSION, __dirname }));",
  );
  const built = path.join(root, ".sluice", "build");
  const bundle = async (name: string) => {
    const { stdout, stderr } = await run(process.execPath, [path.join(root, "tools", "bundle.cjs"), name]);
    return { file: stdout.trim(), built: stderr.includes("bundled") };
  };
  return { root, built, write, bundle, files: () => readdirSync(built) };
}

test("a bundle is built once, again only after a change, and knows its own version", async (t) => {
  const { write, bundle, files } = project(t);
  const first = await bundle("agent");
  assert.equal(first.built, true);
  assert.deepEqual(await bundle("agent"), { file: first.file, built: false });
  const { version } = JSON.parse(readFileSync(path.join(REPOSITORY, "package.json"), "utf8"));
  const hash = /agent-([0-9a-f]{8})\.cjs$/.exec(first.file)?.[1];
  assert.equal((await run(process.execPath, [first.file])).stdout, `hello ${version}+${hash}\n`);

  write("src/model/names.ts", "export const greeting: string = 'good evening';");
  const second = await bundle("agent");
  assert.equal(second.built, true);
  assert.notEqual(second.file, first.file);
  assert.match((await run(process.execPath, [second.file])).stdout, /^good evening/);
  assert.ok(files().includes(path.basename(first.file)), "a process may still be about to start the older one");
});

test("the provider's launcher builds and runs it, and it knows the agent that it was built with", async (t) => {
  const { root, built, bundle, files } = project(t);
  const launch = async () =>
    JSON.parse((await run(path.join(root, "src", "provider", "pulumi-resource-sluice"))).stdout);
  const described = await launch();
  assert.equal(path.join(described.__dirname, described.file), (await bundle("agent")).file);
  assert.equal(described.__dirname, built);
  assert.ok(files().some((file) => /^provider-.*\.cjs\.cache$/.test(file)));
  assert.deepEqual(await launch(), described);
});

test("builds at the same time do not disturb each other", async (t) => {
  const { bundle, files } = project(t);
  const results = await Promise.all(["provider", "provider", "agent", "provider"].map(bundle));
  const [provider] = results;
  assert.deepEqual(
    new Set(results.map(({ file }) => path.basename(file).replace(/-.*/, ""))),
    new Set(["provider", "agent"]),
  );
  assert.ok(results.filter(({ file }) => /provider-/.test(file)).every(({ file }) => file === provider?.file));
  assert.deepEqual(
    files().filter((file) => file.endsWith(".tmp")),
    [],
  );
  assert.equal((await bundle("provider")).file, provider?.file);
});

test("sources that do not build fail with esbuild's message and leave the old bundle", async (t) => {
  const { write, bundle, files } = project(t);
  await bundle("agent");
  const before = files();
  write("src/agent/main.ts", "import { gone } from '../model/gone'; console.log(gone);");
  await assert.rejects(bundle("agent"), (error: { code: number; stderr: string }) => {
    assert.equal(error.code, 1);
    assert.match(
      error.stderr,
      /the agent does not build:\n.*Could not resolve "\.\.\/model\/gone"\n\n +src\/agent\/main\.ts:1:/s,
    );
    return true;
  });
  assert.deepEqual(files(), before);
});

test("a killed build leaves nothing that the next one trips over", async (t) => {
  const { root, built, write, bundle, files } = project(t);
  write("src/agent/main.ts", `console.log(${JSON.stringify("x".repeat(5_000_000))});`);
  const child: ChildProcess = spawn(process.execPath, [path.join(root, "tools", "bundle.cjs"), "agent"]);
  await until(
    "the build has begun to write",
    () => readdirSync(root).includes(".sluice") && readdirSync(built).length > 0,
    {
      intervalMs: 1,
    },
  );
  child.kill("SIGKILL");
  await once(child, "exit");
  writeFileSync(path.join(built, `agent-00000000.cjs.${child.pid}.tmp`), "half a bun");
  writeFileSync(path.join(built, "manifest.json"), '{"agent": {"fil');
  const { file } = await bundle("agent");
  assert.equal((await run(process.execPath, [file], { maxBuffer: 1e7 })).stdout.length, 5_000_001);
  assert.deepEqual(
    files().filter((name) => name.endsWith(".tmp")),
    [],
  );
});
