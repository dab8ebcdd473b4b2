import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { ciOf } from "../../../src/provider/evidence/ci";
import { gitOf } from "../../../src/provider/evidence/git";
import { programOf } from "../../../src/provider/evidence/note-sender";

test("the revision of a program's folder is that of its repository, however that keeps it", async (t) => {
  const root = await realpath(await mkdtemp(join(tmpdir(), "sl-git-")));
  t.after(() => rm(root, { recursive: true, force: true }));
  const folder = join(root, "program", "stacks");
  await mkdir(folder, { recursive: true });
  assert.equal(await gitOf(folder), undefined);
  const env = { ...process.env, GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_SYSTEM: "/dev/null" };
  const git = (...args: string[]) =>
    execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@t", ...args], {
      cwd: folder,
      encoding: "utf8",
      env,
      stdio: "pipe",
    }).trim();
  git("init", "-q", "-b", "trunk", "..");
  assert.equal(await gitOf(folder), undefined, "no commit yet");
  await writeFile(join(folder, "a"), "1");
  git("add", ".");
  git("commit", "-q", "-m", "one");
  const revision = git("rev-parse", "HEAD");
  const about = { revision, subject: "one", author: "t" };
  assert.deepEqual(await gitOf(folder), { ...about, branch: "trunk", dirty: false });
  git("pack-refs", "--all");
  await writeFile(join(folder, "new"), "not tracked");
  assert.deepEqual(await gitOf(folder), { ...about, branch: "trunk", dirty: false });
  await writeFile(join(folder, "a"), "2");
  assert.deepEqual(await gitOf(folder), { ...about, branch: "trunk", dirty: true });
  git("worktree", "add", "-q", "-b", "team/side", join(root, "side"));
  assert.deepEqual(await gitOf(join(root, "side")), { ...about, branch: "team/side", dirty: false });
  git("checkout", "-q", "--detach");
  assert.deepEqual(await gitOf(folder), { ...about, dirty: true });
  await writeFile(join(root, "program", ".git", "HEAD"), "ref: refs/heads/../../../etc/passwd\n");
  assert.equal(await gitOf(folder), undefined);
});

test("a job tells its page, without what may be a credential, and who has set it off", () => {
  assert.equal(ciOf({ PATH: "/bin", GITHUB_REPOSITORY: "shop/shop" }), undefined);
  const github = { GITHUB_SERVER_URL: "https://github.example", GITHUB_REPOSITORY: "shop/shop", GITHUB_RUN_ID: "42" };
  assert.deepEqual(ciOf({ ...github, GITHUB_ACTOR: "ana", GITHUB_TOKEN: "hunter2" }), {
    url: "https://github.example/shop/shop/actions/runs/42",
    actor: "ana",
  });
  assert.deepEqual(ciOf({ CI_JOB_URL: "https://bot:hunter2@ci.example/jobs/7?token=hunter2#x" }), {
    url: "https://ci.example/jobs/7",
  });
});

test("a URN says which program it is of", () => {
  const urn = "urn:pulumi:prod::shop::shop:index:Front$sluice:index:Pool::web-pool";
  assert.deepEqual(programOf(urn), {
    urn,
    stack: "prod",
    project: "shop",
    type: "sluice:index:Pool",
    name: "web-pool",
  });
  assert.deepEqual(programOf("a test"), { urn: "a test" });
});
