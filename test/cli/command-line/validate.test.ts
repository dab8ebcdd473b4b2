import assert from "node:assert/strict";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import test from "node:test";
import { validateDocument } from "../../../src/cli/validate";
import { temporaryFolder } from "../../support/agent";
import { sluice } from "../support/sluice";

test("validate finds the demo's stack good, without an engine or an agent", async () => {
  const { code, stdout } = await sluice(["validate", "demo", "--json"]);
  assert.equal(code, 0, stdout);
  const { resources, stack } = validateDocument.parse(JSON.parse(stdout));
  assert.equal(stack, "demo");
  assert.deepEqual(
    resources.map(({ type, problems }) => ({ type, problems })),
    ["Agent", "Edge", "Pool"].map((type) => ({ type: `sluice:index:${type}`, problems: [] })),
  );
});

test("validate finds every example good", async () => {
  for (const stack of ["canary", "cutover", "webapp"]) {
    const { code, stdout } = await sluice(["validate", stack]);
    assert.equal(code, 0, stdout);
    assert.match(stdout, /^all good /);
  }
});

/** Programs that an update would refuse, and what validate says of them. */
const REFUSED: Record<string, [program: string, says: RegExp]> = {
  waits: [`async () => { await new Promise(() => {}); host(); }`, /^the program failed\n {2}it waits for something/],
  unkept: [
    `() => { host({ directory: new Promise(() => {}) }); }`,
    /^the program failed\n {2}it ended with exit code 1: see its output/,
  ],
  logs: [`() => { host(); pulumi.log.error("bad"); }`, /^the program failed\n {2}it logged an error/],
  code: [`() => { host(); process.exitCode = 3; }`, /^the program failed\n {2}it ended with exit code 3/],
  twice: [`() => { host(); host(); }`, /\/srv\/here agent is declared by Agent here-agent too: give this one another/],
  kind: [
    `() => { new pulumi.CustomResource("sluice:index:Vhost", "v", {}); }`,
    /this version of Sluice has no sluice:index:Vhost/,
  ],
  missing: [`() => { host(); }`, /stack missing has no value of x:region, which Pulumi.yaml declares/],
  type: [`() => { host(); }`, /x:region of stack type is not of type integer/],
};

test("validate is not good where an update would fail, and takes defaults of the project", async (t) => {
  const project = await temporaryFolder(t);
  await mkdir(join(project, "stacks"));
  for (const folder of ["node_modules", "components"]) await symlink(resolve(folder), join(project, folder));
  const declared = "config:\n  region: { type: integer }\n  zone: { type: string, default: a }\n";
  await writeFile(
    join(project, "Pulumi.yaml"),
    `name: x\nruntime: nodejs\nmain: main.cjs\nstackConfigDir: stacks\n${declared}`,
  );
  for (const stack of ["good", ...Object.keys(REFUSED)]) {
    const region = { missing: "", type: "x:region: north" }[stack] ?? "x:region: 3";
    await writeFile(join(project, "stacks", `Pulumi.${stack}.yaml`), `config: { ${region} }\n`);
  }
  const programs = Object.entries(REFUSED).map(([stack, [program]]) => `  ${stack}: ${program},\n`);
  await writeFile(
    join(project, "main.cjs"),
    `require("tsx/cjs/api").register();
const pulumi = require("@pulumi/pulumi");
const { LocalHost } = require("./components");
const host = (more = {}) => new LocalHost("here", { directory: "/srv/here", ...more });
module.exports = {
${programs.join("")}  good: () => { host(); if (new pulumi.Config().require("zone") !== "a") throw new Error("no default"); },
}[process.env.PULUMI_NODEJS_STACK];
`,
  );
  const good = await sluice(["validate", "good", "--project", project]);
  assert.equal(good.code, 0, good.stdout);
  assert.match(good.stdout, /^all good /);
  for (const [stack, [, says]] of Object.entries(REFUSED))
    await t.test(stack, async () => {
      const { code, stdout } = await sluice(["validate", stack, "--project", project]);
      assert.equal(code, 1, stdout);
      assert.match(stdout, says);
    });
});

test("validate reports the problems of a program's declarations, with paths, and a program that fails", async (t) => {
  const project = await temporaryFolder(t);
  await mkdir(join(project, "stacks"));
  for (const folder of ["node_modules", "components"]) await symlink(resolve(folder), join(project, folder));
  await writeFile(join(project, "Pulumi.yaml"), "name: x\nruntime: nodejs\nmain: main.cjs\nstackConfigDir: stacks\n");
  for (const stack of ["bad", "broken"])
    await writeFile(join(project, "stacks", `Pulumi.${stack}.yaml`), "config: {}\n");
  await writeFile(
    join(project, "main.cjs"),
    `require("tsx/cjs/api").register();
const { HaproxyEdge, LocalHost } = require("./components");
if (process.env.PULUMI_NODEJS_STACK === "broken") throw new Error("the program is broken");
const host = new LocalHost("here", { directory: "relative" });
new HaproxyEdge("main", { host, frontends: { http: { binds: [{ address: "127.0.0.1", port: 99999 }], defaultBackend: "web" } } });
`,
  );
  const bad = await sluice(["validate", "bad", "--project", project, "--json"]);
  assert.equal(bad.code, 1, bad.stderr);
  const { resources } = validateDocument.parse(JSON.parse(bad.stdout));
  const problems = resources.flatMap(({ name, problems: found }) =>
    found.map(({ path, message }) => `${name} ${path} ${message}`),
  );
  assert.ok(
    problems.some((text) => /^here-agent directory "relative"/.test(text)),
    problems.join("\n"),
  );
  assert.ok(
    problems.some((text) => /^main-edge frontends\.http\.binds\[0\]\.port 99999 is out of range/.test(text)),
    problems.join("\n"),
  );
  const broken = await sluice(["validate", "broken", "--project", project]);
  assert.equal(broken.code, 1);
  assert.match(broken.stdout, /^the program failed\n {2}the program is broken/);
  const unnamed = await sluice(["validate", "--project", project]);
  assert.equal(unnamed.code, 2);
  assert.match(unnamed.stderr, /there are several stacks in \S+ \(bad, broken\): name one/);
  const unknown = await sluice(["validate", "bda", "--project", project]);
  assert.match(unknown.stderr, /there is no stack "bda": did you mean bad\?/);
});
