import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { SPLITS_FILE } from "../../../src/agent/haproxy/config/routes";
import type { BackendSpec } from "../../../src/model/edge/backend";
import { type EdgeBackend, type PoolShare, poolShare, shareKey } from "../../../src/model/pool/pool-share";
import { candidateBackend } from "../../../src/model/types/names";
import { TestEdge } from "./support/edge";
import { ask, CANDIDATE, count, fastSides, STABLE, sides } from "./support/side";

const KEY = shareKey(STABLE, 1, 2);
/** `npm run soak -- splits` sends more. */
const REQUESTS = Number(process.env.SLUICE_SPLIT_REQUESTS ?? 40_000);
/** Requests that the candidate must be due, or it might well get none. */
const FEWEST = 20;
/** Standard deviations that a count may be off: by chance in one of a million tests. */
const DEVIATIONS = 6;
const CLIENTS = 60;

/** The backends of a pool whose candidate has a share of its requests. */
function pool(backends: Record<string, BackendSpec>, split: number, more: Partial<PoolShare> = {}) {
  const { [STABLE]: stable, [CANDIDATE]: candidate } = backends;
  assert.ok(stable && candidate);
  const share = { ...poolShare.parse({ split, ...more }), key: KEY };
  return { [STABLE]: { ...stable, share }, [candidateBackend(STABLE)]: candidate } satisfies Record<
    string,
    EdgeBackend
  >;
}

test("a pool's candidate takes its share of requests, by the runtime API alone", async (t) => {
  const testEdge = await TestEdge.open(t);
  const backends = await fastSides(t, testEdge);
  await testEdge.haproxy.apply(testEdge.spec(), pool(backends, 10_000));
  const { worker } = await testEdge.haproxy.observe();
  for (const split of [1, 10, 100, 3333].filter((split) => (split / 10_000) * REQUESTS >= FEWEST)) {
    assert.equal((await testEdge.haproxy.apply(testEdge.spec(), pool(backends, split))).how, "runtime");
    assert.equal(await readFile(join(testEdge.edgeFolder, SPLITS_FILE), "utf8"), `${KEY} ${split}\n`);
    const share = split / 10_000;
    const { candidate, all } = await count(testEdge.port, REQUESTS);
    const allowed = DEVIATIONS * Math.sqrt(all * share * (1 - share));
    const off = Math.abs(candidate - all * share);
    assert.ok(off <= allowed, `${candidate} of ${all} at ${split / 100} %: ${off} off, allowed ${allowed}`);
    assert.ok(candidate > 0);
  }
  assert.equal((await testEdge.haproxy.observe()).worker?.pid, worker?.pid);
});

test("clients stay on their side of a pool through a reload, a rise and other servers, and are served without the candidate", async (t) => {
  const testEdge = await TestEdge.open(t);
  const backends = await sides(t, STABLE, CANDIDATE);
  const spec = testEdge.spec();
  const clients = Array.from({ length: CLIENTS }, (_, client) => client);
  const cookies = new Map<number, string>();
  const kinds = [
    { sticky: { by: "header", name: "x-user" }, as: (client: number) => ({ headers: { "x-user": `u${client}` } }) },
    { sticky: { by: "path" }, as: (client: number) => ({ path: `/track/${client}` }) },
    {
      sticky: { by: "cookie", name: "side" },
      as: (client: number) => ({ headers: { cookie: cookies.get(client) ?? "" } }),
    },
    { sticky: { by: "source" }, as: () => ({}) },
  ] as const;
  for (const { sticky, as } of kinds)
    await t.test(`by ${sticky.by}`, async () => {
      const seen = async () =>
        Promise.all(
          clients.map(async (client) => {
            const { side, status, cookie } = await ask(testEdge, as(client));
            assert.equal(status, 200);
            if (cookie !== undefined) cookies.set(client, cookie.split(";")[0] ?? "");
            return side;
          }),
        );
      await testEdge.haproxy.apply(spec, pool(backends, 5000, { sticky }));
      const first = await seen();
      if (sticky.by === "source") assert.equal(new Set(first).size, 1);
      else assert.deepEqual([...new Set(first)].toSorted(), [CANDIDATE, STABLE]);
      assert.deepEqual(await seen(), first);
      const changed = testEdge.spec({ timeouts: { client: "30 seconds" } });
      assert.equal((await testEdge.haproxy.apply(changed, pool(backends, 5000, { sticky }))).how, "reload");
      assert.deepEqual(await seen(), first);
      await testEdge.haproxy.apply(spec, pool(backends, 8000, { sticky }));
      const risen = await seen();
      assert.deepEqual(
        first.filter((side, client) => side === CANDIDATE && risen[client] !== CANDIDATE),
        [],
      );
      const { [STABLE]: stable, ...rest } = pool(backends, 8000, { sticky });
      const gone = { [STABLE]: stable, [candidateBackend(STABLE)]: { ...rest[candidateBackend(STABLE)], servers: {} } };
      await testEdge.haproxy.apply(spec, gone as Record<string, EdgeBackend>);
      assert.deepEqual([...new Set(await seen())], [STABLE]);
      await testEdge.haproxy.apply(spec, pool(backends, 8000, { sticky }));
      assert.deepEqual(await seen(), risen);
    });
});
