import assert from "node:assert/strict";
import { chmod, chown, link, mkdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { LogFile } from "../../../src/agent/events/event-log";
import { temporaryFolder } from "../../support/agent";

test("a log is appended to, and goes on in a new file once it was moved away", async (t) => {
  const path = join(await temporaryFolder(t), "log");
  const log = new LogFile(path);
  await log.write("a\n");
  await rename(path, `${path}.1`);
  await log.write("b\n");
  await log.reopen();
  await log.write("c\n");
  assert.equal(await readFile(`${path}.1`, "utf8"), "a\nb\n");
  assert.equal(await readFile(path, "utf8"), "c\n");
});

test("a log is not written to another file that somebody put in its place", async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, "log");
  const other = join(folder, "other");
  await writeFile(other, "mine\n");
  await symlink(other, path);
  await assert.rejects(new LogFile(path).write("a\n"), /log is a symbolic link: remove it, or name the file/);
  await rm(path);
  await link(other, path);
  await assert.rejects(new LogFile(path).write("a\n"), /log belongs to user \d+ and has 2 names.*: remove it/);
  assert.equal(await readFile(other, "utf8"), "mine\n");
  const shared = join(folder, "shared");
  await mkdir(shared);
  await chmod(shared, 0o777);
  await assert.rejects(
    new LogFile(join(shared, "log")).write("a\n"),
    /shared belongs to .* mode 0777.*the agent's log/,
  );
  await chmod(shared, 0o775);
  await new LogFile(join(shared, "log")).write("a\n");
});

test("a log of another user is not written to", async (t) => {
  if (process.getuid?.() !== 0) return t.skip("needs root, to give a file away");
  const path = join(await temporaryFolder(t), "log");
  await writeFile(path, "");
  await chown(path, 1, 1);
  await assert.rejects(new LogFile(path).write("a\n"), /log belongs to user 1 and has 1 names/);
});
