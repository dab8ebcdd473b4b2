import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { buildSync } from "esbuild";

/** Builds the toy provider's plugin, and gives the folder that holds it. */
export function buildToyProvider(): { folder: string; remove(): void } {
  const folder = mkdtempSync(path.join(os.tmpdir(), "sl-toy-"));
  const outfile = path.join(folder, "pulumi-resource-toy");
  buildSync({
    entryPoints: [path.join(__dirname, "toy-provider.ts")],
    outfile,
    bundle: true,
    platform: "node",
    target: "node20",
    format: "cjs",
    banner: { js: "#!/usr/bin/env node" },
  });
  chmodSync(outfile, 0o755);
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/**
 * A program with one toy, whose arguments come from `args.json` beside it. A token is made a secret, and "later" in a
 * weight's place stands for a value that a preview does not know.
 */
export const TOY_PROGRAM = `
const pulumi = require("@pulumi/pulumi");
const { token, weight, ...args } = JSON.parse(require("node:fs").readFileSync(__dirname + "/args.json", "utf8"));
if (token !== undefined) args.token = pulumi.secret(token);
const later = pulumi.runtime.isDryRun() ? require("@pulumi/pulumi/output").unknown : 9;
args.weight = pulumi.output(weight === "later" ? later : weight);
const toy = new pulumi.CustomResource("toy:index:Toy", "web", { ...args, command: undefined, live: undefined });
exports.live = toy.live;
exports.command = toy.command;
`;
