import assert from "node:assert/strict";
import test from "node:test";
import { declaredRoute } from "../../../src/model/route/route";
import { issueMessage } from "../../../src/model/types/messages";

function problems(more: object): string[] {
  const result = declaredRoute.safeParse(
    { edges: ["main"], stable: "web", stage: "stable", ...more },
    { error: issueMessage },
  );
  return result.success ? [] : result.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
}

test("a mirror and a sample have defaults", () => {
  const { mirror, sample } = declaredRoute.parse({
    edges: ["main"],
    stable: "web",
    stage: "stable",
    mirror: { to: "dark", share: "10%" },
    sample: {},
  });
  assert.deepEqual(mirror, { to: "dark", share: "10%", maxBody: "8 KiB", timeout: "5 seconds", concurrency: 32 });
  assert.deepEqual(sample, { requests: 1000, share: "1%" });
});

test("what is wrong with a mirror or a sample is said with its path, the value and the remedy", () => {
  assert.deepEqual(problems({ mirror: { to: "web", share: "10%" } }), [
    "mirror.to: web is the stable backend, which has these requests already: name another one",
  ]);
  assert.deepEqual(
    problems({
      mirror: { to: "Dark", share: 10, maxBody: "2 MiB", timeout: "-1 seconds", concurrency: 0, methods: ["CONNECT"] },
      sample: { requests: 20_000, share: "101%" },
    }).map((problem) => problem.split(":")[0]),
    [
      "mirror.to",
      "mirror.share",
      "mirror.methods.0",
      "mirror.maxBody",
      "mirror.timeout",
      "mirror.concurrency",
      "sample.requests",
      "sample.share",
    ],
  );
  assert.deepEqual(problems({ mirror: { to: "dark", share: "1%", maxBody: "64 kB" } }), [
    'mirror.maxBody: "64 kB" is not a size: write a number, a space and B, KiB, MiB, GiB or TiB, such as "512 MiB"',
  ]);
  assert.deepEqual(problems({ mirror: { to: "dark", share: "1%", maxBody: "2 MiB" } }), [
    'mirror.maxBody: "2 MiB" is out of range: use 0 B to 1 MiB',
  ]);
});
