import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import test from "node:test";
import { builtEngineFolder } from "../../tools/engine/build.mjs";
import { prepareEngine } from "../../tools/setup/engine.mjs";
import { SetupError } from "../../tools/setup/errors.mjs";
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
    assert.match(machine.said.join("\n"), why);
    assert.match(machine.said.join("\n"), /127\.0\.0\.1:1\/install\.sh cannot be reached/);
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
  assert.match(machine.said.join("\n"), /waiting for another set-up/);
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

test("the official package's installer is used when Pulumi's site answers, and leaves the user's Pulumi home alone", async (t) => {
  const server = createServer((_, response) => response.end("#!/bin/sh\n")).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const { folder, bin, context, said } = fakeMachine(t, { pulumiSite: `http://127.0.0.1:${port}/install.sh` });
  // The real package downloads from Pulumi's site; this one puts its files where the real one would.
  double(
    bin,
    "npm",
    `dir=$PULUMI_HOME/versions/$PULUMI_VERSION/bin; mkdir -p $dir
for name in pulumi pulumi-language-nodejs; do printf '#!/bin/sh\\n' > $dir/$name; chmod 755 $dir/$name; done`,
  );
  const { engine } = await prepareEngine(context);
  assert.equal(engine.source, "official installer");
  assert.equal(existsSync(engine.path), true, said.join("\n"));
  assert.equal(existsSync(path.join(folder, ".pulumi")), false);
  assert.equal((await prepareEngine(context)).engine.source, "cache");
});

test("an official installer that fails is said, and the engine is built", async (t) => {
  const server = createServer((_, response) => response.end("#!/bin/sh\n")).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const machine = fakeMachine(t, { pulumiSite: `http://127.0.0.1:${port}/install.sh` });
  mkdirSync(path.join(machine.folder, ".cache"));
  double(machine.bin, "npm", "echo 'pulumi: HTTP 403' >&2; exit 1");
  goDouble(machine, "3.220.0");
  assert.equal((await prepareEngine(machine.context)).engine.source, "built here");
  assert.match(machine.said.join("\n"), /the official installer failed \(exited with 1: pulumi: HTTP 403\)/);
});
