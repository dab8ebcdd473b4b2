import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { statusDocument } from "../../src/cli/status/schema";
import { startTestAgent, temporaryFolder } from "../support/agent";
import { sluice } from "./support/sluice";
import { startSshd, withoutSshd } from "./support/sshd";

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
  assert.match(refused.stderr, /^sluice: the host key of box is not known, or not the one that is \(.*\): compare it/m);

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
