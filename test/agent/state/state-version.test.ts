import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { StateFile } from "../../../src/agent/state/state";
import { poolState } from "../../../src/model/pool/pool-state";
import { temporaryFolder } from "../../support/agent";

const generation = (number: number, id: string) => ({
  number,
  release: { id, path: `/srv/app/${id}` },
  processes: {},
  ports: {},
});
const SETTINGS = {
  strategy: "side-by-side",
  edge: "main",
  ports: { from: 20_000, to: 20_099 },
  balance: "roundrobin",
  retry: "safe",
  drainDeadline: "30 seconds",
  retain: { count: 2, age: "7 days" },
} as const;
const RETAINED = { settings: SETTINGS, services: {}, retained: [], lastGeneration: 3 };
const SHARE = { split: 1000, sticky: { by: "none" } } as const;
const SINCE = "2026-11-28T12:00:00.000Z";

test("a state of version 1 is read with today's names, and written with them", async (t) => {
  const folder = await temporaryFolder(t);
  const paths = [join(folder, "state.json"), join(folder, "state.copy.json")];
  const file = new StateFile(folder);
  const fresh = await file.load();
  assert.ok(fresh.kind === "new");
  const older = {
    ...fresh.state,
    pools: {
      api: {
        ...RETAINED,
        current: generation(1, "v1"),
        canary: { generation: generation(2, "v2"), share: SHARE, since: SINCE },
        serving: "current",
        singletonsOf: "current",
      },
      web: {
        ...RETAINED,
        current: generation(1, "v1"),
        candidate: generation(3, "v3"),
        outgoing: generation(2, "v2"),
        serving: "candidate",
        singletonsOf: "candidate",
      },
    },
  };
  const checksum = createHash("sha256").update(JSON.stringify(older)).digest("hex");
  for (const path of paths) await writeFile(path, JSON.stringify({ version: 1, checksum, state: older }));
  const loaded = await new StateFile(folder).load();
  assert.ok(loaded.kind === "loaded" && loaded.complete, JSON.stringify(loaded));
  const pool = (state: object) => poolState.parse({ ...RETAINED, current: generation(1, "v1"), ...state });
  assert.deepEqual(loaded.state, {
    ...fresh.state,
    pools: {
      api: pool({
        candidate: { generation: generation(2, "v2"), share: SHARE, since: SINCE },
        serving: "current",
        singletonsOf: "current",
      }),
      web: pool({
        next: generation(3, "v3"),
        retiring: generation(2, "v2"),
        serving: "next",
        singletonsOf: "next",
      }),
    },
  });
  assert.deepEqual(await file.save(loaded.state), []);
  assert.equal(JSON.parse(await readFile(paths[0] ?? "", "utf8")).version, 2);
  const again = await new StateFile(folder).load();
  assert.ok(again.kind === "loaded");
  assert.deepEqual(again.state, { ...loaded.state, sequence: 1 });
});
