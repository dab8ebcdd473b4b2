import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmod, chown, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { installAgent, startAgent } from "../../../src/agent/client/launch";
import { ASSERT_PRIVATE } from "../../../src/agent/client/scripts";
import { send } from "../../../src/agent/processes/identity";
import { agentOptions } from "../../../src/model/protocol/agent";
import { agentBundle } from "../../../src/provider/server";
import { type Cleanup, endEverything, startTestAgent, temporaryFolder } from "../../support/agent";
import { until } from "../../support/until";

/** A system user with a group of its own, on every distribution; and a group that is nobody's of these. */
const DAEMON = 1;
const OTHER_GROUP = 60_000;

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
  await assert.rejects(start, /has mode 0777/);
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

test("a folder above that others can write to is refused, unless its names are safe", async (t) => {
  const folder = await temporaryFolder(t);
  const shared = join(folder, "shared");
  const state = join(shared, "a", "state");
  await mkdir(join(shared, "a"), { recursive: true });
  await chmod(shared, 0o777);
  await assert.rejects(
    install(state),
    /shared belongs to user \d+ and has mode 0777, .*the agent's state folder.*: use a/,
  );
  await assert.rejects(stat(state), /ENOENT/);
  assert.match(guardRefuses(join(shared, "a")), /shared belongs to user \d+ and has mode 0777, so that others could/);
  await chmod(shared, 0o1777);
  await install(state);
  assert.equal(guardRefuses(state), "");
});

test("a folder that a user's own group may write to, as with a umask of 0002, is as good as the user's", async (t) => {
  if (process.getuid?.() !== 0) return t.skip("needs root, to act as another user");
  const home = join(await reachableFolder(t), "home");
  await mkdir(home);
  await chown(home, DAEMON, DAEMON);
  await chmod(home, 0o775);
  assert.equal(refusalFor(DAEMON, join(home, "state")), "");
  assert.equal(guardRefuses(join(home, "state"), DAEMON), "");
  await chmod(home, 0o777);
  assert.match(refusalFor(DAEMON, join(home, "state")), /home belongs to user 1 and has mode 0777/);
  assert.match(guardRefuses(join(home, "state"), DAEMON), /home belongs to user 1 and has mode 0777/);
  await chown(home, DAEMON, OTHER_GROUP);
  await chmod(home, 0o775);
  assert.match(refusalFor(DAEMON, join(home, "state")), /home belongs to user 1 and has mode 0775/);
  assert.match(guardRefuses(join(home, "state"), DAEMON), /home belongs to user 1 and has mode 0775/);
});

test("a folder or a link of another user on the way is refused", async (t) => {
  if (process.getuid?.() !== 0) return t.skip("needs root, to give a folder away");
  const folder = await reachableFolder(t);
  const shared = join(folder, "shared");
  await mkdir(join(shared, "a"), { recursive: true });
  await chown(shared, 1, 1);
  for (const mode of [0o755, 0o1777]) {
    await chmod(shared, mode);
    await assert.rejects(install(join(shared, "a", "state")), /shared belongs to user 1 and has mode/);
    assert.match(guardRefuses(join(shared, "a")), /shared belongs to user 1 and has mode/);
  }
  await chown(shared, 0, 0);
  const link = join(shared, "link");
  asNobody(`ln -s ${join(folder, "own")} ${link}`);
  await mkdir(join(folder, "own"));
  await assert.rejects(install(join(link, "state")), /shared\/link belongs to user 65534/);
  await symlink(join(folder, "own"), join(folder, "link"));
  await install(join(folder, "link", "state"));
});

test("a folder that another user put in an agent's place is never run", async (t) => {
  if (process.getuid?.() !== 0) return t.skip("needs root, to act as another user");
  const folder = await reachableFolder(t);
  const shared = join(folder, "shared");
  await mkdir(shared, { mode: 0o755 });
  const directory = join(shared, "state");
  await mkdir(directory, { mode: 0o700 });
  t.after(() => endEverything(join(shared, "mine")));
  const { about } = await startTestAgent(t, { directory });
  const proof = join(folder, "proof");
  await writeFile(proof, "");
  await chmod(shared, 0o777);
  asNobody(
    `mv ${directory} ${join(shared, "mine")} && mkdir -p ${directory}/bin && echo '{}' > ${directory}/agent.json && for file in start.sh agent.cjs; do echo 'id > ${proof}' > ${directory}/bin/$file; done; touch ${directory}/agent.log`,
  );
  send(about.pid, "SIGKILL");
  const log = () => readFile(join(shared, "mine", "agent.log"), "utf8");
  await until("its guard to refuse", async () => /can't start: .*belongs to user 65534/.test(await log()));
  await assert.rejects(
    startAgent(directory, join(directory, "a.sock"), AbortSignal.timeout(30_000)),
    /belongs to user/,
  );
  assert.equal(await readFile(proof, "utf8"), "");
});

/** A folder that other users reach: the one for a run's temporary files is private. */
async function reachableFolder(t: Cleanup): Promise<string> {
  const folder = await mkdtemp("/tmp/sl-");
  t.after(() => rm(folder, { recursive: true, force: true }));
  await chmod(folder, 0o711);
  return folder;
}

/** The words of a guard, or a unit, about a folder before it runs anything there; nothing if it would. */
function guardRefuses(directory: string, uid = 0): string {
  const script = `mkdir -p "$1/bin"; ${ASSERT_PRIVATE}; assert_private "$1" 2>&1 || true`;
  return execFileSync("/bin/sh", ["-c", script, "sh", directory], { encoding: "utf8", uid, gid: uid });
}

/** The message with which a state folder is refused to a user; nothing where it is not. */
function refusalFor(uid: number, path: string): string {
  // Loaded before the switch: the user may not be allowed to read the checkout.
  const script = `
    const { ensurePrivateFolder } = require(${JSON.stringify(require.resolve("../../../src/agent/state/private-folder"))});
    process.setgroups([]);
    process.setgid(${uid});
    process.setuid(${uid});
    ensurePrivateFolder(${JSON.stringify(path)}).catch(({ message }) => console.log(message));`;
  return execFileSync(process.execPath, [...process.execArgv, "-e", script], { encoding: "utf8" });
}

function asNobody(script: string): void {
  execFileSync("/bin/sh", ["-c", script], { uid: 65534, gid: 65534 });
}
