import assert from "node:assert/strict";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { send } from "../../agent/processes/identity";
import type { PoolInput } from "../../model/pool";
import { summarize } from "../load/report";
import { spawnLoad } from "../load/spawn";
import { until } from "../support/until";
import { kill } from "./support/host";
import { random, seedOf } from "./support/random";
import { assertWhole } from "./support/whole";
import { POOL, World } from "./support/world";

/** Some seconds in every run; `npm run soak -- crashes` sets more of both. */
const SECONDS = Number(process.env.SLUICE_CRASH_SECONDS ?? 15);
const RATE = Number(process.env.SLUICE_CRASH_RATE ?? 100);
const CRASH_EVERY_MS = 1000;
const REPLICAS = 4;
/** A guard lets an agent that dies again and again wait longer each time. */
const AGENT_EVERY = 12;
/** Likewise in crashes: all replicas but one at once. */
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
      { ...template, restart, ...(id === "web" ? { replicas: REPLICAS } : {}) },
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
  const crash = ({ key, pid }: Running) => {
    send(pid, "SIGKILL");
    killed[key] = (killed[key] ?? 0) + 1;
  };
  const begin = performance.now();
  let crashes = 0;
  for (; performance.now() < begin + SECONDS * 1000; crashes++) {
    // Not at the same moment of every second.
    await sleep(Math.max(0, begin + (crashes + draw()) * CRASH_EVERY_MS - performance.now()));
    const running = await until("two replicas", () => takers(world, 2), { deadlineMs: LONGER_MS });
    const replicas = running.filter(({ policy }) => policy === "proxied");
    if (crashes % AGENT_EVERY === AGENT_EVERY - 1) {
      // A replica that crashes while no agent runs is HAProxy's alone to deal with.
      const { agent } = await world.agent();
      kill(agent);
      crash(pick(replicas, draw));
    } else if (crashes % MOST_EVERY === MOST_EVERY - 1) for (const replica of replicas.slice(1)) crash(replica);
    else crash(pick(running, draw));
  }
  const report = await load.stop();

  const sum = Object.values(killed).reduce((all, count) => all + count, 0);
  t.diagnostic(`${crashes} crashes of ${sum} processes, seed ${seed} (SLUICE_SEED repeats it): ${summarize(report)}`);
  assert.deepEqual(report.failures, []);
  assert.equal(report.failed, 0);
  assert.equal(report.reopened, 0, "requests that the client had to send again");
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

interface Running {
  key: string;
  pid: number;
  policy: string;
}

/** The processes that run, once so many replicas take requests; nothing before, or while the agent is away. */
async function takers(world: World, wanted: number): Promise<Running[] | undefined> {
  const { processes } = (await world.client.pool(POOL).catch(() => undefined)) ?? { processes: [] };
  const running = processes.flatMap(({ key, pid, policy, state, health }) =>
    pid !== undefined && state === "running" && health !== "unhealthy" ? [{ key, pid, policy }] : [],
  );
  return running.filter(({ policy }) => policy === "proxied").length >= wanted ? running : undefined;
}

function pick<T>(list: readonly T[], draw: () => number): T {
  return list[Math.floor(draw() * list.length)] as T;
}

function view(world: World) {
  const { directory, client, edgePort, edgeName, edge, poolName } = world;
  return { directory, client, edgePort, edgeName, edge, poolName, quiet: () => world.quiet() };
}
