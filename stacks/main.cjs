"use strict";
// The entry point of every stack (`main` in Pulumi.yaml): picks the stack's program and runs it through tsx, so that
// TypeScript works alike on every version of Pulumi's Node.js host, without a build and without type checks.
const fs = require("node:fs");
const path = require("node:path");

const CONFIG_KEY = "sluice:program";
/** The form in which hosts put the key into PULUMI_CONFIG; the SDK reads both forms, too. */
const LONG_CONFIG_KEY = "sluice:config:program";
/** A program's name becomes a path, so it must not lead out of this folder. */
const PROGRAM_NAME = /^[A-Za-z0-9][A-Za-z0-9_-]*$/;

const program = fileOf(programName());
require("tsx/cjs/api").register();
// What the program exports are the stack's outputs.
module.exports = require(program);

/** The stack's config decides, else the stack's own name; the host hands both over in the environment. */
function programName() {
  const { PULUMI_CONFIG, PULUMI_NODEJS_STACK } = process.env;
  const config = PULUMI_CONFIG === undefined ? { [CONFIG_KEY]: fromSdk().configured } : JSON.parse(PULUMI_CONFIG);
  return config[LONG_CONFIG_KEY] ?? config[CONFIG_KEY] ?? PULUMI_NODEJS_STACK ?? fromSdk().stack;
}

/** Only for hosts that do not use the environment: loading the SDK first just for this would cost time. */
function fromSdk() {
  const pulumi = require("@pulumi/pulumi");
  const [namespace, key] = CONFIG_KEY.split(":");
  return { configured: new pulumi.Config(namespace).get(key), stack: pulumi.getStack() };
}

function fileOf(name) {
  const candidates = PROGRAM_NAME.test(name) ? [`${name}/index.ts`, `${name}.ts`] : [];
  const found = candidates.map((file) => path.join(__dirname, file)).find((file) => fs.existsSync(file));
  if (found !== undefined) return found;
  const existing = fs.readdirSync(__dirname, { withFileTypes: true }).flatMap((entry) => {
    if (entry.isDirectory()) return fs.existsSync(path.join(__dirname, entry.name, "index.ts")) ? [entry.name] : [];
    return /\.ts$/.test(entry.name) && !/\.d\.ts$/.test(entry.name) ? [entry.name.slice(0, -".ts".length)] : [];
  });
  // Pulumi shows a RunError's message without a stack trace, which would only point here.
  const { RunError } = require("@pulumi/pulumi");
  throw new RunError(
    `there is no stack program ${JSON.stringify(name)} (stacks/${name}/index.ts or stacks/${name}.ts): ` +
      `set one that exists with "pulumi config set ${CONFIG_KEY} <program>": ${existing.sort().join(", ") || "there is none yet"}`,
  );
}
