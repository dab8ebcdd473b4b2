import assert from "node:assert/strict";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { isAlive, readStat, send } from "../../src/agent/processes/identity";
import type { PoolInput } from "../../src/model/pool/pool";
import { summarize } from "../load/report";
import { spawnLoad } from "../load/spawn";
import { until } from "../support/until";
import { kill } from "./support/host";
import { random, seedOf } from "./support/random";
import { assertWhole } from "./support/whole";
import { EDGE, POOL, World } from "./support/world";

/** Some seconds in every run; `npm run soak -- crashes` sets more of both. */
const SECONDS = Number(process.env.SLUICE_CRASH_SECONDS ?? 15);
const RATE = Number(process.env.SLUICE_CRASH_RATE ?? 100);
const CRASH_EVERY_MS = 1000;
const REPLICAS = 4;
/** A guard lets an agent that dies again and again wait longer each time. */
const AGENT_EVERY = 12;
/** Likewise in crashes: all replicas but one, one after the other. */
const MOST_EVERY = 9;

const restart = { delay: "300 milliseconds", factor: 1, maxRestarts: 1000 } as const;
const LONGER_MS = 60_000;

test(`${SECONDS} s at ${RATE} requests/s with a crash every second: no request fails while one replica lives`, async (t) => {
  const seed = seedOf();
  const draw = random(seed);
  const world = await World.start(t, { load: false });
  const pool = world.pool("any").processes;
  const processes = Object.fromEntries(
    Object.entries(pool).map(([id, template]) => [
      id,
      {
        ...template,
        restart,
        // A machine that has much else to do is slow, which is no failure.
        ...(id === "web" ? { replicas: REPLICAS, health: { path: "/healthz", timeout: "1 minute", fall: 100 } } : {}),
      },
    ]),
  ) as PoolInput["processes"];
  const overrides = { retry: "safe", processes } as const;
  const release = await world.promoteNext(overrides);

  const load = await spawnLoad({
    url: `http://127.0.0.1:${world.edgePort}`,
    // A request that changes something is never sent again, so that one which a crash cuts fails: none of those.
    mix: { rate: RATE, connections: 16, postShare: 0, slow: 2, websockets: 0, streams: 0 },
    slowSeconds: 0.1,
    patience: 60,
    seconds: SECONDS + 600,
  });
  t.after(() => load.stop().catch(() => undefined));

  const killed: Record<string, number> = {};
  const log: string[] = [];
  const crash = ({ key, pid }: Running) => {
    send(pid, "SIGKILL");
    log.push(`${new Date().toISOString()} ${key}`);
    killed[key] = (killed[key] ?? 0) + 1;
  };
  const begin = performance.now();
  let crashes = 0;
  for (let last = begin; performance.now() < begin + SECONDS * 1000; crashes++) {
    // Not at the same moment of every second. Those that a slow machine missed are not made up for.
    await sleep(Math.max(0, last + (0.5 + draw()) * CRASH_EVERY_MS - performance.now()));
    last = performance.now();
    const running = await until("two replicas", () => takers(world, 2), { deadlineMs: LONGER_MS });
    const replicas = running.filter(({ policy }) => policy === "proxied");
    if (crashes % AGENT_EVERY === AGENT_EVERY - 1) {
      // A replica that crashes while no agent runs is HAProxy's alone to deal with.
      kill((await world.agent()).agent);
      log.push(`${new Date().toISOString()} agent`);
      crash(pick(replicas, draw));
    } else if (crashes % MOST_EVERY === MOST_EVERY - 1) {
      const survivor = pick(replicas, draw);
      for (const victim of replicas.filter((replica) => replica !== survivor)) {
        crash(victim);
        await until("HAProxy to know", () => isKnown(world, victim), { deadlineMs: LONGER_MS });
      }
    } else crash(pick(running, draw));
  }
  const report = await load.stop();

  const sum = Object.values(killed).reduce((all, count) => all + count, 0);
  t.diagnostic(`${crashes} crashes of ${sum} processes, seed ${seed} (SLUICE_SEED repeats it): ${summarize(report)}`);
  assert.deepEqual(report.failures, [], log.join("\n"));
  assert.equal(report.failed, 0);
  // The edge closes connections that were idle for a second, which a slow machine lets them be; without `retry: "safe"` it
  // would be about one for each crash.
  assert.ok(report.reopened <= Math.max(2, crashes / 20), `${report.reopened} requests that the client sent again`);
  assert.ok(report.requests >= SECONDS * RATE, `${report.requests} requests`);
  assert.ok(crashes >= SECONDS / 2, `${crashes} crashes`);
  const subject = { ...view(world), pool: (id: string) => world.pool(id, overrides) };
  await assertWhole(subject, release);
  // Nothing was restarted but what had crashed.
  const { processes: now = [] } = (await world.client.pool(POOL)) ?? {};
  assert.deepEqual(
    Object.fromEntries(now.flatMap(({ key, restarts }) => (restarts === 0 ? [] : [[key, restarts]]))),
    killed,
  );
});

/** Whether HAProxy knows that a process is gone, or there is another one in its place. */
async function isKnown(world: World, { key, pid, port }: Running): Promise<boolean> {
  const { processes = [] } = (await world.client.pool(POOL)) ?? {};
  if (processes.some((process) => process.key === key && process.pid !== undefined && process.pid !== pid)) return true;
  const servers = (await world.client.edge(EDGE))?.observed.backends[POOL] ?? {};
  return Object.values(servers).every((server) => server.port !== port || server.operational === "down");
}

interface Running {
  key: string;
  port: number | undefined;
  pid: number;
  policy: string;
}

/** The processes that live, once so many replicas take requests; nothing before, or while the agent is away. */
async function takers(world: World, wanted: number): Promise<Running[] | undefined> {
  const { processes } = (await world.client.pool(POOL).catch(() => undefined)) ?? { processes: [] };
  const running = processes.flatMap(({ key, pid, port, policy, state, health }) =>
    pid !== undefined && state === "running" && health !== "unhealthy" && stateFiles(pid)
      ? [{ key, pid, port, policy }]
      : [],
  );
  return running.filter(({ policy }) => policy === "proxied").length >= wanted ? running : undefined;
}

/** The agent may not have seen a crash of just now. */
function stateFiles(pid: number): boolean {
  const stat = readStat(pid);
  return stat !== undefined && isAlive(stat);
}

function pick<T>(list: readonly T[], draw: () => number): T {
  return list[Math.floor(draw() * list.length)] as T;
}

function view(world: World) {
  const { directory, client, edgePort, edgeName, edge, poolName } = world;
  return { directory, client, edgePort, edgeName, edge, poolName, quiet: () => world.quiet() };
}
