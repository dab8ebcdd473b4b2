import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { allStats, type ProcessStat } from "../../src/agent/processes/identity";
import { type EdgeInput, edgeSpec } from "../../src/model/edge/edge";
import { type PoolInput, poolSpec } from "../../src/model/pool/pool";
import type { Started } from "../engine/support/engine";
import { HostedStack } from "../engine/support/hosted";
import { startLoad } from "../load/load";
import { endEverything } from "../support/agent";
import { diskProblem, fillDisk, mountDisk, unmountDisk } from "./support/disk";
import { entering, kill, nextEvent, powerCut, quiet, runningAgent } from "./support/host";
import { assertWhole, committedRelease, type Subject } from "./support/whole";

const POOL = "web";
const EDGE = "main";
const FILLER = "filler";
const PHASE_DEADLINE_MS = 60_000;
const RELEASES = ["v1", "v2"] as const;

type Hit = (up: Started) => Promise<void> | void;

interface FaultKind {
  name: string;
  hitless: boolean;
  /** Whether the engine's lock stays behind. */
  locked?: boolean;
  /** Whether nothing but the next update starts an agent again. */
  agentless?: boolean;
  /** Finds out what to hit, before the update begins. */
  aim(hosted: HostedStack): Promise<Hit>;
  repair?(hosted: HostedStack): Promise<void>;
  skip?: string | undefined;
}

const noDisk = diskProblem();

const FAULTS: FaultKind[] = [
  { name: "Ctrl-C", hitless: true, aim: async () => (up) => up.signal("SIGINT") },
  {
    name: "SIGKILL of the CLI, its language host and the provider at once",
    hitless: true,
    locked: true,
    aim: async () => async (up) => family(up.pid, await allStats()).forEach(kill),
  },
  {
    name: "SIGKILL of the agent, which its guard restarts",
    hitless: true,
    aim: async ({ host }) => {
      const { agent } = await runningAgent(host);
      return () => kill(agent);
    },
  },
  {
    name: "SIGKILL of the agent and its guard, which the next update starts again",
    hitless: true,
    agentless: true,
    aim: async ({ host }) => {
      const { agent, guard } = await runningAgent(host);
      return () => [guard, agent].forEach(kill);
    },
  },
  {
    name: "SIGKILL of a HAProxy worker",
    hitless: false,
    aim: async ({ client }) => {
      const worker = (await client.edge(EDGE))?.observed.worker;
      assert.ok(worker);
      return () => kill(worker);
    },
  },
  {
    name: "SIGKILL of the HAProxy master",
    hitless: false,
    aim: async ({ client }) => {
      const pid = (await client.edge(EDGE))?.observed.master;
      assert.ok(pid);
      return () => kill({ pid });
    },
  },
  {
    name: "disk full on the agent's state folder",
    hitless: true,
    skip: noDisk,
    aim:
      async ({ host }) =>
      () =>
        fillDisk(join(host, FILLER)),
    repair: ({ host }) => rm(join(host, FILLER)),
  },
  {
    name: "reboot, after which an update starts the agent",
    hitless: false,
    locked: true,
    agentless: true,
    aim:
      async ({ host }) =>
      async (up) =>
        powerCut(host, family(up.pid, await allStats())),
  },
];

test("pulumi up, faulted in the middle of a promotion", async (t) => {
  let host = "";
  t.after(async () => {
    if (host === "") return;
    await endEverything(host);
    unmountDisk(host);
  });
  const hosted = await HostedStack.create(t);
  if (noDisk === undefined) {
    mountDisk(hosted.host);
    host = hosted.host;
  }
  const { stack, client } = hosted;
  const processes = { web: hosted.web(), clock: { policy: "singleton", command: ["sleep", "1000000"] } };
  const declare = (release: string) =>
    hosted.declare({ edges: { [EDGE]: hosted.edge() }, pools: { [POOL]: hosted.pool(release, { processes }) } });
  const subject: Subject = {
    directory: hosted.host,
    client,
    edgePort: hosted.port,
    edgeName: EDGE,
    edge: edgeSpec.parse(hosted.edge() as EdgeInput),
    poolName: POOL,
    pool: (release) => poolSpec.parse(hosted.pool(release, { processes }) as PoolInput),
    quiet: () => quiet(client),
  };
  await declare(RELEASES[0]);
  const first = await stack.up();
  assert.equal(first.exit, 0, first.stdout + first.stderr);
  await assertWhole(subject, RELEASES[0]);

  for (const { name, hitless, locked = false, agentless = false, aim, repair, skip } of FAULTS) {
    await t.test(name, { skip: skip ?? false }, async () => {
      const before = await committedRelease(subject);
      const after = RELEASES.find((release) => release !== before) ?? "";
      await declare(after);
      const load = startLoad({
        host: "127.0.0.1",
        port: hosted.port,
        mix: { rate: 100, connections: 6, postShare: 0, slow: 0, websockets: 0, streams: 0 },
        timeoutMs: 60_000,
      });
      t.after(() => load.stop());
      const hit = await aim(hosted);
      const reached = nextEvent(client, entering("follow", POOL), AbortSignal.timeout(PHASE_DEADLINE_MS));
      const up = stack.start("up");
      await reached;
      await hit(up);
      const { exit, stdout } = await up.finished;
      const details = `${name}: ${exit}\n${stdout}`;
      if (locked) await stack.cancel();
      if (!agentless) {
        await subject.quiet();
        const outcome = await committedRelease(subject);
        await assertWhole(subject, outcome);
        // An engine that lived to hear of it has recorded the same.
        assert.equal(outcome, exit === 0 ? after : before, details);
      }
      const recorded = (await hosted.recorded("Pool"))[0]?.inputs?.release;
      assert.deepEqual(recorded, hosted.release(exit === 0 ? after : before), details);
      await repair?.(hosted);
      const again = await stack.up();
      assert.equal(again.exit, 0, `the update after ${details}\n\n${again.stdout}${again.stderr}`);
      await assertWhole(subject, after);
      assert.equal((await hosted.ask()).release, after);
      const { failures, requests } = await load.stop();
      assert.ok(requests > 0);
      if (hitless) assert.deepEqual(failures, []);
    });
  }

  await t.test("in the end a preview has nothing to do", async () => {
    assert.match((await stack.preview()).stdout, /\d unchanged/);
  });
});

/** A process and all that it has started, as far as it still belongs to it. */
function family(pid: number, all: readonly ProcessStat[]): { pid: number }[] {
  return [{ pid }, ...all.filter(({ parent }) => parent === pid).flatMap((child) => family(child.pid, all))];
}
