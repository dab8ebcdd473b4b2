import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { setup } from "../../tools/setup/setup.mjs";
import { fakeMachine, haproxyDouble, languageHostDouble, pulumiDouble } from "./doubles";

/** Runs a module's code in a Node.js process of its own. */
async function runScript(code: string) {
  const child = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (output += text));
  const ended = await new Promise<{ code: number | null; signal: string | null }>((resolve) =>
    child.on("close", (exit, signal) => resolve({ code: exit, signal })),
  );
  return { ...ended, output };
}

const moduleAt = (file: string) => JSON.stringify(path.resolve("tools", file));

function withLockFiles(folder: string) {
  mkdirSync(path.join(folder, "node_modules"));
  for (const name of ["package.json", "package-lock.json", "node_modules/.package-lock.json"]) {
    writeFileSync(path.join(folder, name), "{}");
  }
}

test("each step prints one line with what is there and its time, and the environment has it all on PATH", async (t) => {
  const { folder, bin, sbin, context } = fakeMachine(t);
  withLockFiles(folder);
  const pulumi = pulumiDouble(bin, "3.259.1");
  languageHostDouble(bin);
  const haproxy = haproxyDouble(sbin, "2.6.12");
  const lines: string[] = [];
  const result = await setup({ ...context, print: (line) => lines.push(line) });
  assert.deepEqual(
    lines.map((line) => line.replace(/\d+\.\d s$/, "N s")),
    [
      "✓ npm dependencies as package-lock.json says  N s",
      `✓ Pulumi engine 3.259.1 (${pulumi})  N s`,
      `✓ HAProxy 2.6.12 (${haproxy})  N s`,
    ],
  );
  assert.deepEqual(result.engine, { path: pulumi, version: "3.259.1", source: "PATH" });
  assert.deepEqual(result.haproxy, { path: haproxy, version: "2.6.12" });
  assert.equal(result.env.PATH, `${bin}${path.delimiter}${sbin}`);
  assert.equal(result.env.PULUMI_SKIP_UPDATE_CHECK, "true");
});

test("a step that fails is printed with why and what to do, and no later step begins", async (t) => {
  const { folder, sbin, context } = fakeMachine(t);
  withLockFiles(folder);
  haproxyDouble(sbin, "2.6.12");
  const lines: string[] = [];
  await assert.rejects(setup({ ...context, print: (line) => lines.push(line) }), /Go compiler/);
  assert.match(lines.at(-2) ?? "", /^✗ Pulumi engine: no usable Pulumi engine was found, .* {2}\d+\.\d s$/);
  assert.match(lines.at(-1) ?? "", /^ {2}What to do: install the Pulumi CLI/);
  assert.doesNotMatch(lines.join("\n"), /HAProxy/);
});

test("a command whose set-up fails exits with 1", async (t) => {
  const { folder } = fakeMachine(t);
  const { code, output } = await runScript(
    `import { setupOrExit } from ${moduleAt("setup/or-exit.mjs")}; await setupOrExit(${JSON.stringify(folder)}); console.log("went on");`,
  );
  assert.equal(code, 1);
  assert.match(
    output,
    /✗ npm dependencies: package-lock\.json is missing .*\n {2}What to do: git checkout package-lock\.json/,
  );
  assert.doesNotMatch(output, /went on/);
});

test("an old Node.js is refused with what to install", async () => {
  const { code, output } = await runScript(
    `import { refuseOldNode } from ${moduleAt("setup/node-version.mjs")}; refuseOldNode("18.20.4"); console.log("went on");`,
  );
  assert.equal(code, 1);
  assert.equal(
    output,
    "✗ Node.js: 18.20.4 is older than 20\n  What to do: install Node.js >= 20 (https://nodejs.org) and run this again\n",
  );
});

for (const [what, script, expected] of [
  ["exit code", "process.exit(7)", { code: 7, signal: null }],
  ["signal", "process.kill(process.pid, 'SIGTERM')", { code: null, signal: "SIGTERM" }],
  [
    "answer to a signal",
    "process.on('SIGTERM', () => process.exit(9)); process.kill(process.ppid, 'SIGTERM'); setInterval(() => {}, 1000)",
    { code: 9, signal: null },
  ],
] as const) {
  test(`the command's ${what} becomes the caller's`, async () => {
    const { code, signal } = await runScript(
      `import { runForward } from ${moduleAt("forward.mjs")};
       await runForward(process.execPath, ["-e", ${JSON.stringify(script)}], { cwd: "/", env: process.env });`,
    );
    assert.deepEqual({ code, signal }, expected);
  });
}
