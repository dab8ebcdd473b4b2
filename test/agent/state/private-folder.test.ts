import assert from "node:assert/strict";
import { chmod, chown, mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { installAgent, startAgent } from "../../../src/agent/client/launch";
import { agentOptions } from "../../../src/model/protocol/agent";
import { agentBundle } from "../../../src/provider/server";
import { temporaryFolder } from "../../support/agent";

async function install(directory: string, socket = join(directory, "a.sock")): Promise<void> {
  await installAgent(directory, agentOptions.parse({ socket }), agentBundle());
}

test("a state folder is made for its user alone", async (t) => {
  const folder = join(await temporaryFolder(t), "a", "b");
  await install(folder);
  assert.equal((await stat(folder)).mode & 0o777, 0o700);
});

test("a state folder that others can write to is refused, also by an agent that is there already", async (t) => {
  const folder = await temporaryFolder(t);
  await chmod(folder, 0o770);
  await assert.rejects(install(folder), /sl-\w+ belongs to user \d+ and has mode 0770, .*: use a folder of your own/);
  await chmod(folder, 0o700);
  await install(folder);
  await chmod(folder, 0o777);
  const start = startAgent(folder, join(folder, "a.sock"), AbortSignal.timeout(30_000));
  await assert.rejects(start, /can't start: .*has mode 0777/);
});

test("a state folder of another user is refused", async (t) => {
  if (process.getuid?.() !== 0) return t.skip("needs root, to give a folder away");
  const folder = await temporaryFolder(t);
  await chown(folder, 1, 1);
  await assert.rejects(install(folder), /belongs to user 1 and has mode 0700/);
});

test("a socket's folder may be sticky, but not one in which others replace it", async (t) => {
  const folder = await temporaryFolder(t);
  const shared = join(folder, "shared");
  await mkdir(shared);
  await chmod(shared, 0o777);
  await assert.rejects(install(folder, join(shared, "a.sock")), /shared belongs to user \d+ and has mode 0777.*socket/);
  await chmod(shared, 0o1777);
  await install(folder, join(shared, "a.sock"));
});
