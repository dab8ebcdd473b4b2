import assert from "node:assert/strict";
import test from "node:test";
import { atLeast, parseVersion } from "../../tools/setup/version.mjs";

test("a version is found in what the tools print", () => {
  assert.equal(parseVersion("v3.220.0\n"), "3.220.0");
  assert.equal(parseVersion("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/"), "2.6.12");
  assert.equal(parseVersion("HA-Proxy version 1.8.27-493ce0b 2020/11/06"), "1.8.27");
  assert.equal(parseVersion("v3.221.0-alpha.1+dirty"), "3.221.0");
  assert.equal(parseVersion("command not found"), undefined);
});

test("versions are compared number by number", () => {
  assert.equal(atLeast("3.220.0", "3.220"), true);
  assert.equal(atLeast("3.99.9", "3.220"), false);
  assert.equal(atLeast("4.0.0", "3.220"), true);
  assert.equal(atLeast("2.10.1", "2.6"), true);
  assert.equal(atLeast("2.5.99", "2.6"), false);
  assert.equal(atLeast("2.6", "2.6.0"), true);
});
