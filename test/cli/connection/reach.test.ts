import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { nearest, unknownName } from "../../../src/cli/common/nearest";
import { textStyleOf } from "../../../src/cli/common/screen";
import { endEverything, startTestAgent, temporaryFolder } from "../../support/agent";
import { sluice } from "../support/sluice";

const NOBODY = 65_534;

test("an agent that can't be reached ends a verb with code 3, the reason and the remedy", async (t) => {
  const folder = await temporaryFolder(t);
  const absent = await sluice(["status", "--socket", join(folder, "none.sock")]);
  assert.equal(absent.code, 3);
  assert.match(absent.stderr, /^sluice: there is no agent's socket at \S+none\.sock: start the agent/);
  assert.equal(absent.stdout, "");

  const stale = join(folder, "stale.sock");
  // A process that is killed leaves its socket behind.
  spawnSync(process.execPath, [
    "-e",
    `require("net").createServer().listen(${JSON.stringify(stale)}, () => process.kill(process.pid, "SIGKILL"))`,
  ]);
  const left = await sluice(["status", "--socket", stale]);
  assert.equal(left.code, 3);
  assert.match(left.stderr, /is left over from an agent that has ended: start it again/);

  const file = join(folder, "file");
  await writeFile(file, "");
  const plain = await sluice(["status", "--socket", file]);
  assert.equal(plain.code, 3);
  assert.match(plain.stderr, /file is not a socket: name the agent's socket/);
});

/** Why nobody else can run the command of this checkout; false where another user can. */
function withoutOtherUser(): string | false {
  if (process.getuid?.() !== 0) return "needs root, to become another user";
  const { status } = spawnSync("test", ["-r", __filename], { uid: NOBODY });
  return status !== 0 && "needs a checkout that other users may read: clone it to a folder such as /tmp";
}

test("someone whom the socket's mode keeps out is told so, with code 3", { skip: withoutOtherUser() }, async (t) => {
  const { socket, directory } = await startTestAgent(t);
  await chmod(directory, 0o755);
  // Builds the command's bundle first: the other user can't.
  assert.equal((await sluice(["status", "--socket", socket])).code, 0);
  const outcome = await sluice(["status", "--socket", socket], { uid: NOBODY });
  assert.equal(outcome.code, 3);
  assert.match(
    outcome.stderr,
    /you may not use the agent's socket \S+ \(mode 0600, user 0, group 0\): run this as its owner/,
  );
});

test("without --socket the environment's is taken, else the only one of the project around, and none is guessed", async (t) => {
  const project = await mkdtemp(join(tmpdir(), "sl-"));
  const hosts = join(project, ".sluice", "hosts");
  // Before the folder goes, by which its agents are found.
  t.after(async () => {
    for (const name of ["one", "two"]) await endEverything(join(hosts, name));
    await rm(project, { recursive: true });
  });
  const inner = join(project, "inner");
  await mkdir(inner);
  const none = await sluice(["status"], { cwd: inner, env: { SLUICE_SOCKET: "" } });
  assert.equal(none.code, 3);
  assert.match(
    none.stderr,
    /no agent's socket was found on this host .*: start the agent .*, or name its socket with --socket or SLUICE_SOCKET/,
  );
  const one = join(hosts, "one");
  await mkdir(one, { recursive: true });
  const agent = await startTestAgent(t, { directory: one, agent: { socket: join(one, "agent.sock") } });
  const found = await sluice(["status", "--json"], { cwd: inner, env: { SLUICE_SOCKET: "" } });
  assert.equal(found.code, 0);
  assert.equal(JSON.parse(found.stdout).where, agent.socket);
  const two = join(hosts, "two");
  await mkdir(two);
  await startTestAgent(t, { directory: two, agent: { socket: join(two, "agent.sock") } });
  const both = await sluice(["status"], { cwd: inner, env: { SLUICE_SOCKET: "" } });
  assert.equal(both.code, 2);
  assert.match(both.stderr, /there are several agents on this host \(.*one.*two.*\): name one with --socket/);
  const named = await sluice(["status"], { cwd: inner, env: { SLUICE_SOCKET: agent.socket } });
  assert.equal(named.code, 0);
});

test("what the command line can't mean ends with code 2", async () => {
  for (const args of [
    ["status", "--nonsense"],
    ["stat"],
    ["status", "--host", "-oProxyCommand=x"],
    ["status", "extra"],
  ])
    assert.equal((await sluice(args)).code, 2, args.join(" "));
});

test("names that are not known lead to the nearest ones", () => {
  const known = ["web", "worker", "scheduler", "redis"];
  assert.deepEqual(nearest("wbe", known), ["web"]);
  assert.deepEqual(nearest("workr", known), ["worker"]);
  assert.deepEqual(nearest("sched", known), ["scheduler"]);
  assert.deepEqual(nearest("quite-another", known), []);
  assert.equal(unknownName("pool", "wbe", known), 'there is no pool "wbe": did you mean web?');
  assert.equal(unknownName("pool", "quite-another", ["a"]), 'there is no pool "quite-another": there is a');
  assert.equal(unknownName("pool", "x", []), 'there is no pool "x": there is none at all');
});

test("colour is for terminals that want it, and width is theirs", () => {
  const terminal = { isTTY: true, columns: 100 } as never;
  assert.deepEqual(textStyleOf({ stdout: terminal, env: {} }), { colour: true, width: 100 });
  assert.deepEqual(textStyleOf({ stdout: terminal, env: { NO_COLOR: "1" } }), { colour: false, width: 100 });
  assert.deepEqual(textStyleOf({ stdout: terminal, env: { TERM: "dumb" } }), { colour: false, width: 100 });
  assert.deepEqual(textStyleOf({ stdout: {} as never, env: {} }), { colour: false, width: Number.POSITIVE_INFINITY });
});
