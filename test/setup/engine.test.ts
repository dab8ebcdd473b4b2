import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { create } from "tar";
import { builtEngineFolder } from "../../tools/engine/build.mjs";
import { prepareEngine } from "../../tools/setup/engine.mjs";
import { SetupError } from "../../tools/setup/errors.mjs";
import { OFFICIAL_ENGINE_VERSION } from "../../tools/setup/official-engine.mjs";
import { until } from "../support/until";
import { double, fakeMachine, goDouble, languageHostDouble, pulumiDouble } from "./doubles";

test("the engine on PATH is used when it is new enough and its language host is beside it, through links too", async (t) => {
  const { bin, folder, context } = fakeMachine(t);
  const real = path.join(folder, "pulumi-install");
  pulumiDouble(real, "3.259.1");
  languageHostDouble(real);
  symlinkSync(path.join(real, "pulumi"), path.join(bin, "pulumi"));
  const { engine, env } = await prepareEngine(context);
  assert.deepEqual(engine, { path: path.join(bin, "pulumi"), version: "3.259.1", source: "PATH" });
  assert.equal(env?.PATH, bin);
});

const unusable: [string, (bin: string) => void, RegExp][] = [
  ["is too old", (bin) => [pulumiDouble(bin, "3.219.9"), languageHostDouble(bin)], /3\.219\.9 is older than 3\.220/],
  ["has no language host", (bin) => pulumiDouble(bin, "3.259.1"), /pulumi-language-nodejs is neither beside it nor on/],
  ["does not run", (bin) => double(bin, "pulumi", "exit 3"), /`pulumi version` exited with 3/],
];
for (const [what, arrange, why] of unusable) {
  test(`an engine on PATH that ${what} is left out, saying so, and one is built and put first on PATH`, async (t) => {
    const machine = fakeMachine(t);
    arrange(machine.bin);
    goDouble(machine, "3.220.0");
    const { engine, env } = await prepareEngine(machine.context);
    const bin = path.join(builtEngineFolder(machine.context.env), "bin");
    assert.deepEqual(engine, { path: path.join(bin, "pulumi"), version: "3.220.0", source: "built here" });
    assert.equal(env?.PATH, `${bin}${path.delimiter}${machine.bin}`);
    assert.match(machine.messages.join("\n"), why);
    assert.match(machine.messages.join("\n"), /127\.0\.0\.1:1\/releases\/sdk\/pulumi-v\S+ cannot be reached/);
  });
}

test("the engine built earlier is used again, unless a part of it is gone", async (t) => {
  const machine = fakeMachine(t);
  goDouble(machine, "3.220.0");
  const builds = () => readFileSync(path.join(machine.folder, "go.log"), "utf8").trim().split("\n").length;
  await prepareEngine(machine.context);
  assert.equal((await prepareEngine(machine.context)).engine.source, "cache");
  assert.equal(builds(), 2);
  rmSync(path.join(builtEngineFolder(machine.context.env), "bin", "pulumi-language-nodejs"));
  assert.equal((await prepareEngine(machine.context)).engine.source, "built here");
  assert.equal(builds(), 4);
});

test("two set-ups at once build one engine", async (t) => {
  const machine = fakeMachine(t);
  goDouble(machine, "3.220.0", 0.2);
  const both = await Promise.all([prepareEngine(machine.context), prepareEngine(machine.context)]);
  assert.equal(both[0].engine.path, both[1].engine.path);
  assert.equal(readFileSync(path.join(machine.folder, "go.log"), "utf8").trim().split("\n").length, 2);
  assert.match(machine.messages.join("\n"), /waiting for another set-up/);
});

test("a set-up killed while it builds leaves no half engine and does not stop the next one", async (t) => {
  const machine = fakeMachine(t);
  goDouble(machine, "3.220.0", 30);
  const module = path.resolve("tools/engine/build.mjs");
  const script = `import { buildEngine } from ${JSON.stringify(module)}; await buildEngine({ env: process.env, say() {} });`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], { env: machine.context.env });
  await until("the build has begun", () => existsSync(path.join(machine.folder, "go.log")));
  child.kill("SIGKILL");
  await once(child, "exit");
  // The compiler is the leader of its own process group, and outlives a set-up that could not end it.
  process.kill(-Number(readFileSync(path.join(machine.folder, "go.pid"), "utf8")), "SIGKILL");
  const folder = builtEngineFolder(machine.context.env);
  assert.equal(existsSync(folder), false);

  goDouble(machine, "3.220.0");
  assert.equal((await prepareEngine(machine.context)).engine.source, "built here");
  assert.deepEqual(readdirSync(path.dirname(folder)).sort(), [path.basename(folder), "current"]);
});

test("a failing build is reported with the compiler's words, a missing compiler with what to install", async (t) => {
  const machine = fakeMachine(t);
  await assert.rejects(prepareEngine(machine.context), (error) => {
    assert.ok(error instanceof SetupError);
    assert.match(error.message, /Go compiler .* not on PATH/);
    assert.match(error.remedy, /get\.pulumi\.com .* Go >= 1\.24/);
    return true;
  });
  double(machine.bin, "go", "echo 'go: module lookup disabled' >&2; exit 1");
  await assert.rejects(prepareEngine(machine.context), (error) => {
    assert.ok(error instanceof SetupError);
    assert.match(error.message, /`go build` in .* exited with 1/);
    assert.equal(error.output, "go: module lookup disabled");
    return true;
  });
  assert.equal(existsSync(builtEngineFolder(machine.context.env)), false);
});

/** A site with an archive in the place of Pulumi's own build. */
async function pulumiSite(t: TestContext) {
  const folder = mkdtempSync(path.join(tmpdir(), "sluice-pulumi-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  pulumiDouble(path.join(folder, "pulumi"), OFFICIAL_ENGINE_VERSION);
  languageHostDouble(path.join(folder, "pulumi"));
  await create({ cwd: folder, gzip: true, file: path.join(folder, "a.tar.gz") }, ["pulumi"]);
  const archive = readFileSync(path.join(folder, "a.tar.gz"));
  const server = createServer((request, response) => {
    if (request.url?.endsWith(".tar.gz") !== true) response.statusCode = 404;
    response.end(archive);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, digest: createHash("sha256").update(archive).digest("hex") };
}

const PLATFORM = `${process.platform}-${process.arch}`;

test("Pulumi's own build is used by its digest, and what is downloaded is said before", async (t) => {
  const { url, digest } = await pulumiSite(t);
  const { folder, context, messages } = fakeMachine(t, { pulumiSite: url, pulumiDigests: { [PLATFORM]: digest } });
  const { engine } = await prepareEngine(context);
  assert.equal(engine.source, "official build", messages.join("\n"));
  assert.equal(existsSync(engine.path), true);
  assert.equal(existsSync(path.join(folder, ".pulumi")), false);
  assert.match(
    messages[0] ?? "",
    new RegExp(`^downloading the Pulumi CLI from ${url}/releases/sdk/\\S+, .* ${digest}$`),
  );
  assert.equal((await prepareEngine(context)).engine.source, "cache");
});

test("a build of another digest, or for a platform without one, is left out, saying so, and the engine is built", async (t) => {
  const { url, digest } = await pulumiSite(t);
  const wrong = fakeMachine(t, { pulumiSite: url, pulumiDigests: { [PLATFORM]: "0".repeat(64) } });
  goDouble(wrong, "3.220.0");
  assert.equal((await prepareEngine(wrong.context)).engine.source, "built here");
  assert.match(wrong.messages.join("\n"), new RegExp(`has SHA-256 ${digest}, not 0{64}: it is not the known archive`));
  const other = fakeMachine(t, { pulumiSite: url, pulumiDigests: {} });
  goDouble(other, "3.220.0");
  assert.equal((await prepareEngine(other.context)).engine.source, "built here");
  assert.match(other.messages.join("\n"), /no digest of Pulumi's build for \S+ is known/);
});
