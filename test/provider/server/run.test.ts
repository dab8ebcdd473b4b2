import assert from "node:assert/strict";
import test from "node:test";
import { Run } from "../../../src/provider/server/run";

const POOL = {
  urn: "urn:pulumi:dev::shop::sluice:index:Pool::web",
  targets: ["/srv/agent pool/web"],
  removal: "stops web",
};

test("a destroy tells what it removes, and a refresh of a stack with a command's name does not", () => {
  const run = new Run();
  run.knows(POOL);
  assert.deepEqual(run.removed(["destroy", "--preview-only", "--stack", "refresh"]), [POOL]);
  assert.deepEqual(run.removed(["--non-interactive", "up", "--stack", "dev"]), [POOL]);
  assert.deepEqual(run.removed(["refresh", "--stack", "up"]), []);
  assert.deepEqual(run.removed(["stack", "export"]), []);
});

test("what a program declares is not removed, and nothing is said after a failure", () => {
  const run = new Run();
  run.knows(POOL);
  run.declare("/srv/agent pool/web", "urn:pulumi:dev::shop::sluice:index:Pool::other");
  assert.deepEqual(run.removed(["up"]), []);
  run.clear();
  run.knows(POOL);
  run.silence();
  assert.deepEqual(run.removed(["up"]), []);
});
