import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { SetupError } from "../../tools/setup/errors.mjs";
import { prepareHaproxy } from "../../tools/setup/haproxy.mjs";
import { double, fakeMachine, haproxyDouble } from "./doubles";

test("HAProxy on PATH is used as it is; one that is off PATH is added at PATH's end", async (t) => {
  const { bin, sbin, context } = fakeMachine(t);
  const inSbin = haproxyDouble(sbin, "2.6.12");
  const off = await prepareHaproxy(context);
  assert.deepEqual(off.haproxy, { path: inSbin, version: "2.6.12" });
  assert.equal(off.env?.PATH, `${bin}${path.delimiter}${sbin}`);

  const onPath = haproxyDouble(bin, "3.2.0");
  const on = await prepareHaproxy(context);
  assert.deepEqual(on.haproxy, { path: onPath, version: "3.2.0" });
  assert.equal(on.env?.PATH, bin);
});

test("a HAProxy on PATH that is too old gives way to a newer one, which is then first on PATH", async (t) => {
  const { bin, sbin, context } = fakeMachine(t);
  haproxyDouble(bin, "2.4.29");
  haproxyDouble(sbin, "2.6.12");
  const { haproxy, env } = await prepareHaproxy(context);
  assert.equal(haproxy.version, "2.6.12");
  assert.equal(env?.PATH, `${sbin}${path.delimiter}${bin}`);
});

test("root on Debian gets it from apt-get, with fresh package lists where the old ones do not do", async (t) => {
  const { folder, bin, sbin, context } = fakeMachine(t, { isRoot: true });
  // apt itself would change this machine; this one knows the package after an update, and installs a double.
  haproxyDouble(path.join(folder, "package"), "2.6.12");
  double(
    bin,
    "apt-get",
    `echo "$3" >> ${folder}/apt.log
if [ "$3" = update ]; then touch ${folder}/lists; exit; fi
[ -e ${folder}/lists ] || { echo 'E: Unable to locate package haproxy'; exit 100; }
cp ${folder}/package/haproxy ${sbin}/haproxy`,
  );
  assert.equal((await prepareHaproxy(context)).haproxy.path, path.join(sbin, "haproxy"));
  assert.equal(readFileSync(path.join(folder, "apt.log"), "utf8"), "install\nupdate\ninstall\n");
});

test("apt-get's failure is reported in its words", async (t) => {
  const { bin, context } = fakeMachine(t, { isRoot: true });
  double(bin, "apt-get", "echo 'E: dpkg was interrupted'; exit 100");
  await assert.rejects(prepareHaproxy(context), (error) => {
    assert.ok(error instanceof SetupError);
    assert.equal(error.message, "`apt-get install haproxy` exited with 100");
    assert.match(error.output, /E: dpkg was interrupted/);
    return true;
  });
});

const managers: [string, boolean, string][] = [
  ["apt-get", false, "sudo apt-get install -y haproxy"],
  ["dnf", true, "dnf install -y haproxy"],
  ["apk", false, "sudo apk add haproxy"],
  ["brew", false, "brew install haproxy"],
];
for (const [name, isRoot, command] of managers) {
  test(`without HAProxy, ${isRoot ? "root" : "a user"} with ${name} gets the one command and nothing is run`, async (t) => {
    const { bin, context } = fakeMachine(t, { isRoot });
    double(bin, name, "exit 99");
    await assert.rejects(prepareHaproxy(context), (error) => {
      assert.ok(error instanceof SetupError);
      assert.equal(error.message, "no HAProxy >= 2.6 on this machine");
      assert.equal(error.remedy, command);
      return true;
    });
  });
}

test("a HAProxy that is too old is named with its version", async (t) => {
  const { bin, context } = fakeMachine(t);
  const old = haproxyDouble(bin, "2.4.29");
  await assert.rejects(prepareHaproxy(context), { message: `${old} is 2.4.29, older than 2.6` });
});
