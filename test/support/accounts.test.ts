import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { promisify } from "node:util";
import { temporaryFolder } from "./agent";

/** Mounts a second source of accounts, beside the files in /etc, which LDAP or SSSD would be on other hosts. */
const MOUNTS = [
  'mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf',
  'mount --bind "$1/etc-passwd" /etc/passwd',
  'mount --bind "$1/etc-group" /etc/group',
  'mount --bind "$1/extrausers" /var/lib/extrausers',
].join(" && ");

/** Why this can't be tested here, with the remedy. */
function problem(): string | false {
  const script = "mount -t tmpfs none /var/lib/extrausers && ls /usr/lib/libnss_extrausers.so.2";
  const made = spawnSync("unshare", ["--mount", "sh", "-c", script], { encoding: "utf8" });
  return made.status === 0
    ? false
    : `no other source of accounts can be had here (${made.stderr?.trim()}): run as root, with libnss-extrausers`;
}

test("accounts are found wherever the host has them from", { skip: problem() }, async (t) => {
  const directory = await temporaryFolder(t);
  const write = (name: string, lines: string[]) => writeFile(join(directory, name), `${lines.join("\n")}\n`);
  const withoutHaproxy = async (file: string) =>
    (await readFile(file, "utf8")).split("\n").filter((line) => line !== "" && !line.startsWith("haproxy:"));
  await write("nsswitch.conf", ["passwd: files extrausers", "group: files extrausers"]);
  await write("etc-passwd", await withoutHaproxy("/etc/passwd"));
  await write("etc-group", await withoutHaproxy("/etc/group"));
  await mkdir(join(directory, "extrausers"));
  await write("extrausers/passwd", [
    "directory.user:x:51234:51235:Of a directory:/home/directory:/bin/sh",
    "directoryuser:x:51236:51235::/:/bin/sh",
    "haproxy:x:51237:51238::/:/bin/false",
  ]);
  await write("extrausers/group", [
    "its-own:x:51235:",
    "directory-group:x:51240:directory.user",
    "second:x:51241:other,directory.user",
    "haproxy:x:51238:",
  ]);
  await mkdir(join(directory, "bin"));
  await cp("/usr/bin/id", join(directory, "bin", "id"));

  const { stdout } = await promisify(execFile)(
    "unshare",
    [
      "--mount",
      "sh",
      "-c",
      `${MOUNTS} && exec "$0" --import tsx "$2" "$1"`,
      process.execPath,
      directory,
      join(__dirname, "accounts", "main.ts"),
    ],
    { env: { ...process.env, NODE_TEST_CONTEXT: undefined } },
  );
  const user = { name: "directory.user", uid: 51_234, gid: 51_235, home: "/home/directory" };
  const who = "uid=51234(directory.user)";
  const all = "51235(its-own),51240(directory-group),51241(second)";
  assert.deepEqual(JSON.parse(stdout), {
    user,
    byNumber: user,
    group: { name: "directory-group", gid: 51_240 },
    facts: { user: "haproxy", group: "haproxy", gid: 51_238 },
    socket: [51_236, 51_240],
    launched: `${who} gid=51235(its-own) groups=${all}`,
    launchedWithGroup: `${who} gid=51240(directory-group) groups=51240(directory-group),51235(its-own),51241(second)`,
    launchedLater: `${who} gid=51235(its-own) groups=51235(its-own),51239(added-later),51240(directory-group),51241(second)`,
    hangs: "the accounts of this host can't be looked up: getent has not answered within 10 s",
    withoutGetent: {
      root: { name: "root", uid: 0, gid: 0, home: "/root" },
      rootByNumber: { name: "root", uid: 0, gid: 0, home: "/root" },
      group: { name: "root", gid: 0 },
      groups: [0],
      directoryUser: "none",
    },
  });
});
