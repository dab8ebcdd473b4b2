import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { promisify } from "node:util";

const REPOSITORY = path.resolve(__dirname, "..", "..");
const run = promisify(execFile);

/**
 * The real entry point beside two programs; what it runs with is what Pulumi's Node.js host sets.
 *
 * @param sdk files of a double of Pulumi's SDK. @default the installed one
 */
function stacks(t: TestContext, programs: Record<string, string> = {}, sdk?: Record<string, string>) {
  const root = mkdtempSync(path.join(os.tmpdir(), "sl-stacks-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  mkdirSync(path.join(root, "stacks", "demo"), { recursive: true });
  const modules = path.join(root, "node_modules");
  if (sdk === undefined) symlinkSync(path.join(REPOSITORY, "node_modules"), modules);
  else {
    mkdirSync(modules);
    symlinkSync(path.join(REPOSITORY, "node_modules", "tsx"), path.join(modules, "tsx"));
    for (const [name, text] of Object.entries(sdk)) {
      const file = path.join(modules, "@pulumi", "pulumi", name);
      mkdirSync(path.dirname(file), { recursive: true });
      writeFileSync(file, text);
    }
  }
  writeFileSync(path.join(root, "stacks", "demo", "index.ts"), "export const out: string = 'demo';");
  writeFileSync(path.join(root, "stacks", "edge.ts"), "enum Out { edge = 'edge' }\nexport const out = Out.edge;");
  for (const [name, text] of Object.entries(programs)) writeFileSync(path.join(root, "stacks", `${name}.ts`), text);
  const main = path.join(root, "stacks", "main.cjs");
  cpSync(path.join(REPOSITORY, "stacks", "main.cjs"), main);
  return async (config: object, stack: string) => {
    const env = { ...process.env, PULUMI_CONFIG: JSON.stringify(config), PULUMI_NODEJS_STACK: stack };
    const { stdout } = await run(process.execPath, ["-p", `require(${JSON.stringify(main)}).out`], { env });
    return stdout.trim();
  };
}

test("the stack's name says which program runs, unless its config does", async (t) => {
  const program = stacks(t);
  assert.equal(await program({}, "demo"), "demo");
  assert.equal(await program({ "sluice:program": "edge" }, "demo"), "edge");
  assert.equal(await program({ "sluice:config:program": "edge" }, "other"), "edge");
});

test("a program that does not exist, or a path out of the folder, is refused with those that exist", async (t) => {
  const program = stacks(t);
  await assert.rejects(program({}, "prod"), /no stack program "prod" .*sluice:program <program>": demo, edge/);
  await assert.rejects(
    program({ "sluice:program": "../stacks/edge" }, "demo"),
    /no stack program "\.\.\/stacks\/edge"/,
  );
});

test("what programs rarely use of the SDK loads only when it is used, and then works", async (t) => {
  const loaded = 'Object.keys(require.cache).some((file) => file.endsWith("automation/stack.js"))';
  const program = stacks(t, {
    unused: `import * as pulumi from "@pulumi/pulumi"; export const out = [typeof pulumi.output, ${loaded}].join();`,
    used: `import { automation } from "@pulumi/pulumi"; export const out = [typeof automation.LocalWorkspace.create, ${loaded}].join();`,
  });
  assert.equal(await program({}, "unused"), "function,false");
  assert.equal(await program({}, "used"), "function,true");
});

test("an error of a program still tells where in its source it was made", async (t) => {
  const program = stacks(t, {
    failing: `import "@pulumi/pulumi";\ninterface Unused { nothing: string }\n\nexport const out = new Error("here").stack?.split("\\n")[1];`,
  });
  assert.match(await program({}, "failing"), /failing\.ts:4:20/);
});

test("parts that another version of the SDK does not have are left alone", async (t) => {
  const programs = { any: 'import * as pulumi from "@pulumi/pulumi"; export const out = pulumi.name;' };
  const index = 'exports.name = "double";';
  const versions: Record<string, string>[] = [
    // From 3.276 on, nothing of it needs @npmcli/arborist.
    { "index.js": index, "automation/index.js": "", "log/index.js": "", "runtime/closure/codePaths.js": "" },
    { "index.js": index },
    { "index.js": index, "package.json": '{"exports":{".":"./index.js"}}' },
  ];
  for (const sdk of versions)
    assert.equal(await stacks(t, programs, sdk)({}, "any"), "double", Object.keys(sdk).join());
});
