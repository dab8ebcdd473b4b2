import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { SPLITS_FILE } from "../../../src/agent/haproxy/config/routes";
import { change } from "../../../src/agent/haproxy/runtime/runtime-api";
import { until } from "../../support/until";
import { RawClient, TestEdge } from "./support/edge";
import { ask, CANDIDATE, count, fastSides, route, STABLE, sides } from "./support/side";

const KEY = `api/${STABLE}/${CANDIDATE}`;
/** `npm run soak -- splits` sends more. */
const REQUESTS = Number(process.env.SLUICE_SPLIT_REQUESTS ?? 40_000);
/** Requests that the candidate must be due, or it might well get none. */
const FEWEST = 20;
/** Standard deviations that a count may be off: by chance in one of a million tests. */
const DEVIATIONS = 6;

test("a split takes its share of requests, by the runtime API alone", async (t) => {
  const edge = await TestEdge.open(t);
  const backends = await fastSides(t, edge);
  await edge.haproxy.apply(edge.spec(), backends, { api: route(0) });
  const { worker } = await edge.haproxy.observe();
  const splits = [1, 10, 100, 3333, 10_000].filter((split) => (split / 10_000) * REQUESTS >= FEWEST);
  for (const split of [...splits, 0]) {
    const { how } = await edge.haproxy.apply(edge.spec(), backends, { api: route(split) });
    assert.equal(how, "runtime");
    assert.equal(await readFile(join(edge.edgeFolder, SPLITS_FILE), "utf8"), `${KEY} ${split}\n`);
    const share = split / 10_000;
    const sharp = share === 0 || share === 1;
    const { candidate, all } = await count(edge.port, sharp ? 1600 : REQUESTS);
    const allowed = DEVIATIONS * Math.sqrt(all * share * (1 - share));
    const off = Math.abs(candidate - all * share);
    assert.ok(off <= allowed, `${candidate} of ${all} at ${split / 100} %: ${off} off, allowed ${allowed}`);
    assert.ok(share === 0 || candidate > 0);
  }
  assert.equal((await edge.haproxy.observe()).worker?.pid, worker?.pid);
});

test("a split survives reloads, a killed HAProxy and an agent's restart", async (t) => {
  const edge = await TestEdge.open(t);
  const backends = await sides(t, STABLE, CANDIDATE);
  const routes = { api: route(10_000) };
  await edge.haproxy.apply(edge.spec(), backends, routes);
  assert.equal((await ask(edge)).side, CANDIDATE);
  const changed = edge.spec({ timeouts: { client: "30 seconds" } });
  assert.equal((await edge.haproxy.apply(changed, backends, routes)).how, "reload");
  assert.equal((await ask(edge)).side, CANDIDATE);
  await edge.restartAgent();
  assert.deepEqual(await edge.haproxy.plan(changed, backends, routes), { how: "nothing", reasons: [] });
  const { master } = await edge.haproxy.observe();
  process.kill(master ?? 0, "SIGKILL");
  await until("HAProxy is gone", () => !edge.haproxy.runs());
  assert.equal((await edge.haproxy.apply(changed, backends, routes)).how, "start");
  assert.equal((await ask(edge)).side, CANDIDATE);
  assert.deepEqual((await edge.haproxy.observe()).splits, { [KEY]: 10_000 });
});

test("a split that somebody changed by hand is seen, and mended without a reload", async (t) => {
  const edge = await TestEdge.open(t);
  const backends = await sides(t, STABLE, CANDIDATE);
  const routes = { api: route(100) };
  await edge.haproxy.apply(edge.spec(), backends, routes);
  const { worker } = await edge.haproxy.observe();
  const byHand: [string[], string][] = [
    [[`set map ${SPLITS_FILE} ${KEY} 5000`], `the split of ${KEY} is 5000, not 100`],
    [[`del map ${SPLITS_FILE} ${KEY}`], `the split of ${KEY} is missing`],
    [[`clear map ${SPLITS_FILE}`], `the split of ${KEY} is missing`],
  ];
  for (const [commands, reason] of byHand) {
    await change(edge.workerSocket, commands);
    assert.deepEqual(await edge.haproxy.plan(edge.spec(), backends, routes), { how: "runtime", reasons: [reason] });
    await edge.haproxy.apply(edge.spec(), backends, routes);
    assert.deepEqual(await edge.haproxy.plan(edge.spec(), backends, routes), { how: "nothing", reasons: [] });
    assert.deepEqual((await edge.haproxy.observe()).splits, { [KEY]: 100 });
  }
  await writeFile(join(edge.edgeFolder, SPLITS_FILE), `${KEY} 9999\n`);
  const plan = await edge.haproxy.apply(edge.spec(), backends, routes);
  assert.deepEqual(plan, { how: "runtime", reasons: [`${SPLITS_FILE} was changed by hand`] });
  assert.equal(await readFile(join(edge.edgeFolder, SPLITS_FILE), "utf8"), `${KEY} 100\n`);
  assert.equal((await edge.haproxy.observe()).worker?.pid, worker?.pid);
});

/** The worker's answer on a connection that is kept. */
async function sideOn(client: RawClient): Promise<string> {
  client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  const head = await client.until("\r\n\r\n");
  const body = await client.until("}}");
  return /"name":"([a-z]+)"/.exec(head + body)?.[1] ?? head;
}

test("a worker of before a reload follows: on its idle connections too, a rollback takes hold at once", async (t) => {
  const edge = await TestEdge.open(t);
  const backends = await sides(t, STABLE, CANDIDATE);
  await edge.haproxy.apply(edge.spec(), backends, { api: route(10_000) });
  const clients = await Promise.all([1, 2, 3].map(() => RawClient.open(edge.port)));
  t.after(() => {
    for (const client of clients) client.close();
  });
  for (const client of clients) assert.equal(await sideOn(client), CANDIDATE);
  const changed = edge.spec({ timeouts: { client: "30 seconds" } });
  await edge.haproxy.apply(changed, backends, { api: route(10_000) });
  const { oldWorkers } = await edge.haproxy.observe();
  assert.deepEqual(
    oldWorkers.map(({ splits }) => splits),
    [{ [KEY]: 10_000 }],
  );
  const [first, second, third] = clients;
  if (first === undefined || second === undefined || third === undefined) throw new Error("there are three clients");
  await edge.haproxy.apply(changed, backends, { api: route(0) });
  assert.equal(await sideOn(first), STABLE);

  // A route that went has no candidate either; but what was the candidate may be the stable side now.
  await edge.haproxy.apply(changed, backends, { api: route(10_000) });
  await edge.haproxy.apply(changed, backends, { api: route(0, { stable: CANDIDATE, candidate: STABLE }) });
  assert.equal(await sideOn(second), CANDIDATE);
  await edge.haproxy.apply(changed, backends, {});
  assert.equal(await sideOn(third), STABLE);
});

test("a cookie keeps a client on the candidate while the split rises, under reloads, and not after a rollback", async (t) => {
  const edge = await TestEdge.open(t);
  const backends = await sides(t, STABLE, CANDIDATE);
  const at = (split: number, spec = edge.spec()) =>
    edge.haproxy.apply(spec, backends, { api: route(split, { sticky: { by: "cookie", name: "side" } }) });
  await at(3000);
  const clients = await Promise.all(
    Array.from({ length: 120 }, async () => {
      const { cookie, side } = await ask(edge);
      assert.match(cookie ?? "", /^side=\d{1,10}; path=\/; max-age=2592000; httponly; samesite=lax$/);
      return { headers: { cookie: cookie?.split(";")[0] ?? "" }, side };
    }),
  );
  const chosen = clients.filter(({ side }) => side === CANDIDATE);
  assert.ok(chosen.length > 10 && chosen.length < 80, `${chosen.length} of 120 at 30 %`);
  const now = (which: typeof clients) => Promise.all(which.map(async ({ headers }) => ask(edge, { headers })));
  for (const { cookie } of await now(chosen)) assert.equal(cookie, undefined);
  const sidesNow = async (which: typeof clients) => (await now(which)).map(({ side }) => side);
  const before = clients.map(({ side }) => side);
  assert.deepEqual(await sidesNow(clients), before);
  await at(3000, edge.spec({ timeouts: { client: "30 seconds" } }));
  assert.deepEqual(await sidesNow(clients), before);
  for (const split of [3001, 6000, 9999, 10_000]) {
    await at(split);
    assert.deepEqual([...new Set(await sidesNow(chosen))], [CANDIDATE]);
  }
  await at(0);
  assert.deepEqual([...new Set(await sidesNow(clients))], [STABLE]);
  await at(3000);
  assert.deepEqual(await sidesNow(clients), before);
});

test("a header, the client's address or the path keeps its side; without the header each request is drawn", async (t) => {
  const edge = await TestEdge.open(t);
  const backends = await sides(t, STABLE, CANDIDATE);
  const drawn = async (requests: Parameters<typeof ask>[1][]) =>
    Promise.all(requests.map(async (request) => (await ask(edge, request)).side));
  const users = Array.from({ length: 60 }, (_, user) => ({ headers: { "x-user": `user-${user}` } }));
  const paths = Array.from({ length: 60 }, (_, track) => ({ path: `/tracks/${track}?at=${track}` }));
  const same = Array.from({ length: 60 }, () => ({}));
  const kinds = [
    { sticky: { by: "header", name: "x-user" }, requests: users, more: "many" },
    { sticky: { by: "path" }, requests: paths, more: "many" },
    { sticky: { by: "source" }, requests: same, more: "one" },
    { sticky: { by: "header", name: "x-user" }, requests: same, more: "many" },
  ] as const;
  for (const { sticky, requests, more } of kinds) {
    await edge.haproxy.apply(edge.spec(), backends, { api: route(5000, { sticky }) });
    const once = await drawn([...requests]);
    assert.equal(new Set(once).size, more === "many" ? 2 : 1, JSON.stringify(sticky));
    const again = await drawn([...requests]);
    if (sticky.by === "header" && requests === same) assert.notDeepEqual(again, once);
    else assert.deepEqual(again, once);
  }
});

test("the most specific route takes a request, and its frontends, host, path and headers are what it says", async (t) => {
  const edge = await TestEdge.open(t);
  const names = ["all", "host", "path", "longer", "header", "other"];
  const backends = await sides(t, STABLE, ...names);
  const to = (stable: string, match: object) => route(0, { stable, candidate: undefined, match });
  await edge.haproxy.apply(edge.spec(), backends, {
    a: to("all", {}),
    b: to("path", { pathPrefix: "/api" }),
    c: to("longer", { pathPrefix: "/api/v2/" }),
    d: to("host", { host: "shop.example.com" }),
    e: to("header", { host: "shop.example.com", headers: { "X-Beta": "yes, please" } }),
    f: to("other", { frontends: ["elsewhere"], host: "shop.example.com", pathPrefix: "/very/long" }),
  });
  const cases: [string, Parameters<typeof ask>[1]][] = [
    ["all", {}],
    ["all", { path: "/apix" }],
    ["path", { path: "/api" }],
    ["path", { path: "/api?x" }],
    ["path", { path: "/api/v2" }],
    ["longer", { path: "/api/v2/x" }],
    ["host", { headers: { host: "SHOP.example.com:8080" } }],
    ["host", { path: "/very/long", headers: { host: "shop.example.com" } }],
    ["all", { headers: { host: "shop.example.com.evil" } }],
    ["header", { headers: { host: "shop.example.com", "x-beta": "yes, please" } }],
    ["host", { headers: { host: "shop.example.com", "x-beta": "yes" } }],
    ["all", { headers: { "x-beta": "yes, please" } }],
  ];
  for (const [side, request] of cases) assert.equal((await ask(edge, request)).side, side, JSON.stringify(request));
});

test("a header leads testers to the candidate, and to the stable side where that does not exist", async (t) => {
  const edge = await TestEdge.open(t);
  const backends = await sides(t, STABLE, CANDIDATE);
  const testers = { header: "x-try", value: "the new one" };
  await edge.haproxy.apply(edge.spec(), backends, { api: route(0, { testers }) });
  const tester = { headers: { "x-try": testers.value } };
  assert.deepEqual([(await ask(edge)).side, (await ask(edge, tester)).side], [STABLE, CANDIDATE]);
  const { [STABLE]: stable } = backends;
  if (stable === undefined) throw new Error("there is a stable backend");
  await edge.haproxy.apply(edge.spec(), { [STABLE]: stable }, { api: route(0, { testers }) });
  assert.deepEqual([(await ask(edge)).side, (await ask(edge, tester)).side], [STABLE, STABLE]);
  const { [CANDIDATE]: candidate } = backends;
  if (candidate === undefined) throw new Error("there is a candidate");
  await edge.haproxy.apply(edge.spec(), { [CANDIDATE]: candidate }, { api: route(0, { testers }) });
  assert.deepEqual([(await ask(edge)).status, (await ask(edge, tester)).status], [503, 200]);
});

test("a candidate without a server that takes requests gives its share to the stable side at once", async (t) => {
  const edge = await TestEdge.open(t);
  const backends = await sides(t, STABLE, CANDIDATE);
  await edge.haproxy.apply(edge.spec(), backends, { api: route(10_000) });
  const worker = (command: string) => change(edge.workerSocket, [command]);
  const [server] = Object.keys(backends[CANDIDATE]?.servers ?? {});
  const states = [
    ["set server %s state maint", "set server %s state ready"],
    ["set server %s state drain", "set server %s state ready"],
    ["set server %s weight 0", "set server %s weight 100"],
    ["set server %s health down", "set server %s health up"],
  ] as const;
  for (const [out, back] of states) {
    assert.equal((await ask(edge)).side, CANDIDATE, back);
    await worker(out.replace("%s", `${CANDIDATE}/${server}`));
    assert.equal((await ask(edge)).side, STABLE, out);
    await worker(back.replace("%s", `${CANDIDATE}/${server}`));
  }
});

test("no value can leave its place in the config", async (t) => {
  const edge = await TestEdge.open(t);
  const backends = await sides(t, STABLE, CANDIDATE);
  const values = ["}", "} or TRUE", "-f", "--", "'", "''", '"', "$HOME", "#", "\\", "a b", "%[src]", "!", "|| TRUE"];
  for (const value of values) {
    const headers = { "x-value": value };
    await edge.haproxy.apply(edge.spec(), backends, {
      api: route(10_000, { match: { headers }, testers: { header: "x-tester", value } }),
    });
    assert.equal((await ask(edge, { headers })).side, CANDIDATE, value);
    assert.equal((await ask(edge)).side, STABLE, value);
    assert.equal((await ask(edge, { headers: { "x-value": `${value}x` } })).side, STABLE, value);
  }
  for (const pathPrefix of ["/}", "/{x}", "/$HOME", "/a;b", "/%27", "/*", "/[a]"]) {
    await edge.haproxy.apply(edge.spec(), backends, { api: route(10_000, { match: { pathPrefix } }) });
    assert.equal((await ask(edge, { path: `${pathPrefix}/x` })).side, CANDIDATE, pathPrefix);
    assert.equal((await ask(edge)).side, STABLE, pathPrefix);
  }
});
