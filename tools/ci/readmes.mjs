// @ts-check
// `node tools/run.mjs readmes`: runs the first commands of each example's README, up to its first `pulumi up`, as they
// stand there, and then what leaves nothing of it. Only their files' names and answers to prompts are ours.
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { codeOf } from "../setup/errors.mjs";

const root = path.resolve(fileURLToPath(new URL("../..", import.meta.url)));
const stacks = path.join(root, "stacks");

let failed = 0;
for (const stack of readdirSync(stacks, { withFileTypes: true }).filter((each) => each.isDirectory())) {
  const commands = firstCommands(path.join(stacks, stack.name, "README.md"));
  const startedAt = performance.now();
  const exit = await run(stack.name, commands);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`${exit === 0 ? "✓" : "✗"} stacks/${stack.name}/README.md: ${commands.length} commands  ${seconds} s`);
  if (exit !== 0) failed++;
}
process.exitCode = failed === 0 ? 0 : 1;

/**
 * @param {string} file
 * @returns {string[]}
 */
function firstCommands(file) {
  const block = /^```console\n([\s\S]*?)^```$/m.exec(readFileSync(file, "utf8"))?.[1] ?? "";
  const all = block.split("\n").flatMap((line) => (line.startsWith("$ ") ? [line.slice(2)] : []));
  const up = all.findIndex((command) => command.startsWith("pulumi up"));
  if (up < 0) throw new Error(`${file}: its first block of commands should have a "pulumi up"`);
  return all.slice(0, up + 1);
}

/**
 * Runs commands in one shell, with a home of its own, and then takes all of it away again.
 *
 * @param {string} stack
 * @param {string[]} commands
 * @returns {Promise<number>}
 */
async function run(stack, commands) {
  const home = mkdtempSync(path.join(tmpdir(), "sluice-readme-"));
  const config = path.join(stacks, `Pulumi.${stack}.yaml`);
  const before = readFileSync(config, "utf8");
  const destroy = 'pulumi destroy --stack "$stack"';
  const script = [`trap 'code=$?; trap - EXIT; ${destroy} || code=1; exit $code' EXIT`, "set -ex", ...commands];
  const child = spawn("bash", ["-c", script.join("\n")], {
    cwd: root,
    env: {
      ...process.env,
      stack,
      HOME: home,
      PULUMI_HOME: path.join(home, ".pulumi"),
      PULUMI_SKIP_CONFIRMATIONS: "true",
    },
    stdio: ["ignore", "inherit", "inherit"],
    detached: true,
  });
  const exit = await new Promise((resolve, reject) =>
    child.on("error", reject).on("exit", (code) => resolve(code ?? 1)),
  );
  endGroup(child.pid ?? 0);
  // `pulumi stack init` writes the salt of its passphrase there.
  writeFileSync(config, before);
  rmSync(home, { recursive: true, force: true });
  return exit;
}

/**
 * Ends programs that a README starts in the background, which do not end by themselves.
 *
 * @param {number} leader
 */
function endGroup(leader) {
  try {
    process.kill(-leader, "SIGTERM");
  } catch (error) {
    if (codeOf(error) !== "ESRCH") throw error;
  }
}
