import assert from "node:assert/strict";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import test from "node:test";
import { validateDocument } from "../../cli/validate";
import { temporaryFolder } from "../support/agent";
import { sluice } from "./support/sluice";

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

test("validate tells what is wrong in a program's declarations, with paths, and a program that fails", async (t) => {
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
