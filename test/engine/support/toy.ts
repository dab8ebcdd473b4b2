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

/** A program with one toy, whose arguments come from `args.json` beside it. */
export const TOY_PROGRAM = `
const pulumi = require("@pulumi/pulumi");
const { token, ...args } = JSON.parse(require("node:fs").readFileSync(__dirname + "/args.json", "utf8"));
const secret = token === undefined ? {} : { token: pulumi.secret(token) };
const toy = new pulumi.CustomResource("toy:index:Toy", "web", { ...args, ...secret, command: undefined, live: undefined });
exports.live = toy.live;
exports.command = toy.command;
`;
