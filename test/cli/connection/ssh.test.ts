import assert from "node:assert/strict";
import { mkdir, readdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { allStats, commandOf, isDead } from "../../../src/agent/processes/identity";
import { statusDocument } from "../../../src/cli/status/schema";
import { startTestAgent, temporaryFolder } from "../../support/agent";
import { until } from "../../support/until";
import { follow, sluice } from "../support/sluice";
import { startSshd, withoutSshd } from "../support/sshd";

test("--host reaches an agent through the system's ssh, and leaves nothing behind", {
  skip: withoutSshd(),
}, async (t) => {
  const { socket } = await startTestAgent(t);
  const { path, trust } = await startSshd(t, { SLUICE_SOCKET: socket });
  const temporary = await temporaryFolder(t);
  const env = { PATH: `${path}:${process.env.PATH}`, TMPDIR: temporary };
  const status = (...args: string[]) => sluice(["status", "--json", "--host", "box", ...args], { env });

  await trust(false);
  const refused = await status("--socket", socket);
  assert.equal(refused.code, 3);
  assert.match(
    refused.stderr,
    /^sluice: the host key of box is unknown, or differs from the known one \(.*\): compare it/m,
  );

  await trust(true);
  const named = await status("--socket", socket);
  assert.equal(named.code, 0, named.stderr);
  assert.equal(statusDocument.parse(JSON.parse(named.stdout)).where, `box:${socket}`);

  // The agent's socket is found there by itself.
  const found = await status();
  assert.equal(found.code, 0, found.stderr);
  assert.equal(statusDocument.parse(JSON.parse(found.stdout)).where, "box");

  const wrong = await status("--socket", join(temporary, "none.sock"));
  assert.equal(wrong.code, 3);
  assert.match(wrong.stderr, /^sluice: no agent answers on box:\S+none\.sock/m);

  const nowhere = await sluice(["status", "--host", "closed"], { env });
  assert.equal(nowhere.code, 3);
  assert.match(nowhere.stderr, /closed can't be reached by ssh \(.+\): try "ssh/);

  assert.deepEqual(await readdir(temporary), []);
});

/** Pids of the ssh processes whose command names a folder. */
async function sshTo(folder: string): Promise<number[]> {
  const live = (await allStats()).filter((stat) => !isDead(stat));
  const commands = await Promise.all(live.map(async ({ pid }) => ({ pid, command: await commandOf(pid) })));
  return commands
    .filter(({ command }) => command.startsWith("/usr/bin/ssh ") && command.includes(folder))
    .map(({ pid }) => pid);
}

test("ssh ends with its verb, even if that is killed", { skip: withoutSshd() }, async (t) => {
  const { socket } = await startTestAgent(t);
  const { path, trust } = await startSshd(t, {});
  await trust(true);
  const temporary = await temporaryFolder(t);
  const env = { PATH: `${path}:${process.env.PATH}`, TMPDIR: temporary };
  const { child, stdout } = follow(["events", "--follow", "--host", "box", "--socket", socket], { env });
  t.after(() => child.kill("SIGKILL"));
  await until("events to be shown", () => stdout() !== "", { deadlineMs: 60_000 });
  assert.equal((await sshTo(temporary)).length, 1);
  child.kill("SIGKILL");
  await until("ssh to be gone", async () => (await sshTo(temporary)).length === 0, { deadlineMs: 60_000 });
});

test("--host says what to install where there is no ssh", async (t) => {
  const bin = join(await temporaryFolder(t), "bin");
  await mkdir(bin);
  await symlink(process.execPath, join(bin, "node"));
  await symlink("/bin/sh", join(bin, "sh"));
  const { code, stderr } = await sluice(["status", "--host", "box"], { env: { PATH: bin } });
  assert.equal(code, 3);
  assert.match(stderr, /--host needs the ssh command, which is not installed: install openssh-client/);
});
