import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { symlink, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import test, { type TestContext } from "node:test";
import { temporaryFolder } from "../../support/agent";
import { sluice } from "../support/sluice";
import { world } from "../support/world";

const offered = async (words: string[], env: Record<string, string> = {}) =>
  (await sluice(["complete", "--", ...words], { env })).stdout.split("\n").filter(Boolean);

test("verbs, options and choices are offered as far as they are written", async () => {
  assert.deepEqual(await offered(["sta"]), ["status"]);
  assert.deepEqual(await offered(["agent", ""]), ["install", "status", "stop", "disown"]);
  assert.deepEqual(await offered(["completion", ""]), ["bash", "zsh", "fish"]);
  assert.deepEqual(await offered(["restart", "--policy", "s"]), ["singleton", "service"]);
  const options = await offered(["status", "--"]);
  assert.deepEqual(options.toSorted(), ["--help", "--host", "--json", "--socket", "--watch"]);
  // A file is the shell's to complete.
  assert.deepEqual(await offered(["status", "--socket", ""]), []);
  assert.ok(!(await offered([""])).includes("complete"));
});

test("names of what an agent has are offered, and none where it does not answer", async (t) => {
  const { socket } = await world(t);
  const env = { SLUICE_SOCKET: socket };
  assert.deepEqual(await offered(["events", "--pool", ""], env), ["web"]);
  assert.deepEqual(await offered(["restart", "web/"], env), ["web/web", "web/web#0", "web/web#1"]);
  assert.deepEqual(await offered(["logs", "ed"], env), ["edge/main"]);
  assert.deepEqual(await offered(["events", "--pool", ""], { SLUICE_SOCKET: `${socket}.none` }), []);
});

for (const [shell, run] of [
  [
    "bash",
    `source script; COMP_WORDS=(sluice restart --policy si); COMP_CWORD=3; _sluice; printf '%s\\n' "\${COMPREPLY[@]}"; complete -p sluice >&2`,
  ],
  [
    "zsh",
    `compdef() { :; }; compadd() { [[ $1 == -- ]] && shift; print -l -- "$@"; }; source ./script; words=(sluice restart --policy si); CURRENT=4; _sluice`,
  ],
  ["fish", `source script; complete -C "sluice restart --policy si"`],
] as const)
  test(`the script for ${shell} completes in ${shell}`, { skip: without(shell) }, async (t) => {
    const folder = await scriptFor(shell, t);
    const { stdout, stderr, status } = spawnSync(shell, [...(shell === "zsh" ? ["-f"] : []), "-c", run], {
      cwd: folder,
      encoding: "utf8",
      env: { ...process.env, PATH: `${folder}:${process.env.PATH}`, HOME: folder },
    });
    assert.equal(status, 0, stderr);
    assert.equal(stdout, "singleton\n");
  });

function without(shell: string): string | false {
  return spawnSync(shell, ["--version"]).status === 0 ? false : `needs ${shell}: apt-get install ${shell}`;
}

/** A folder with the script of a shell, and the command itself, to be found by its name. */
async function scriptFor(shell: string, t: TestContext): Promise<string> {
  const folder = await temporaryFolder(t);
  const { code, stdout } = await sluice(["completion", shell]);
  assert.equal(code, 0);
  await writeFile(join(folder, "script"), stdout);
  await symlink(resolve("src/cli/sluice"), join(folder, "sluice"));
  return folder;
}

test("a shell that is not known is refused with those that are", async () => {
  const { code, stderr } = await sluice(["completion", "tcsh"]);
  assert.equal(code, 2);
  assert.match(stderr, /Allowed choices are bash, zsh, fish/);
});
