import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { join } from "node:path";
import test from "node:test";
import { promisify } from "node:util";
import type { Seen } from "../../support/requests";

/** Connections that a listener has not accepted when it closes go to the other one that shares its port. */
const SETTINGS = "ip link set lo up && echo 1 > /proc/sys/net/ipv4/tcp_migrate_req";

/** Why this can't be tested here, with the remedy. */
function problem(): string | false {
  const made = spawnSync("unshare", ["--net", "sh", "-c", SETTINGS], { encoding: "utf8" });
  return made.status === 0
    ? false
    : `no network of its own can be made here (${made.stderr?.trim()}): run as root, with util-linux and iproute2, on Linux 5.14 or newer`;
}

test("an edge listens beside an old HAProxy, which then ends: no request fails", { skip: problem() }, async (t) => {
  const inside = join(__dirname, "shared-inside.ts");
  const run = `${SETTINGS} && exec "$0" --import tsx "$1"`;
  const { stdout } = await promisify(execFile)("unshare", ["--net", "sh", "-c", run, process.execPath, inside], {
    env: { ...process.env, NODE_TEST_CONTEXT: undefined },
    maxBuffer: 64 * 1024 * 1024,
  });
  const { master, takeover, shownTakeover, loads } = JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as {
    master: number;
    takeover: string[];
    shownTakeover: Record<string, string>;
    loads: Seen[];
  };
  // The one that listens is its worker; the one that is asked to end is the master.
  assert.match(
    takeover[0] ?? "",
    new RegExp(
      `^takes over port 18080: process ${master} \\(haproxy -W -f .*\\), since .* \\(SIGUSR1\\); the edge listens beside it on 127.0.0.1:18080, then it ends: no gap$`,
    ),
  );
  assert.deepEqual(shownTakeover, { "port 18080": "taken over" });
  for (const { answers, failures } of loads) {
    t.diagnostic(JSON.stringify(answers));
    assert.deepEqual(failures, []);
    assert.deepEqual(Object.keys(answers).toSorted(), ["old 200", "v1 200"]);
  }
});
