import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { AgentError } from "../../../src/agent/client/connection";
import { findMarked, readStat, send } from "../../../src/agent/processes/identity";
import type { PoolInput } from "../../../src/model/pool/pool";
import type { PoolState } from "../../../src/model/pool/pool-state";
import { until } from "../../support/until";
import { kill, markerOf } from "./host";
import { assertWhole, type Subject } from "./whole";
import { POOL, type World } from "./world";

const LONGEST_DELAY_MS = 900;
const AGENT_MS = 60_000;
/** A singleton that finds another one of it alive writes that into a file. */
const SINGLETON = 'exec 9>"$LOCK"; flock -n 9 || { echo "two at a time" >>"$DOUBLES"; exit 1; }; exec sleep 1000000';
/** Why somebody who restarts processes may be refused: a promotion runs, traffic would be cut, the agent is away. */
const REFUSALS = ["held", "would-cut", "not-up", "unreachable", "failed"];

/** An event on a host, by itself or in the middle of a change. `victim` chooses among what runs, from 0 to 1. */
type Fault =
  | { fault: "crash"; victim: number }
  | { fault: "agent" }
  | { fault: "agent and guard" }
  | { fault: "restart"; process: string };
type Meanwhile = { afterMs: number; what: Fault | { fault: "deployer" } };
type Change = { change: "deploy" | "rollback" | "scale"; web: number; worker: number; meanwhile: Meanwhile | null };
export type Operation = Fault | Change;

const fault: fc.Arbitrary<Fault> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ fault: fc.constant("crash" as const), victim: unit() }) },
  { weight: 1, arbitrary: fc.constant({ fault: "agent" as const }) },
  { weight: 2, arbitrary: fc.constant({ fault: "agent and guard" as const }) },
  {
    weight: 2,
    arbitrary: fc.record({
      fault: fc.constant("restart" as const),
      process: fc.constantFrom("web", "worker", "clock", "store"),
    }),
  },
);
const change: fc.Arbitrary<Change> = fc.record({
  change: fc.constantFrom("deploy" as const, "rollback" as const, "scale" as const),
  web: fc.integer({ min: 1, max: 2 }),
  worker: fc.integer({ min: 1, max: 3 }),
  meanwhile: fc.option(
    fc.record({
      afterMs: fc.integer({ min: 0, max: LONGEST_DELAY_MS }),
      what: fc.oneof(
        { weight: 3, arbitrary: fault },
        { weight: 1, arbitrary: fc.constant({ fault: "deployer" as const }) },
      ),
    }),
  ),
});

/** Events on a host, one after the other without a pause. */
export const sequences = fc.array(fc.oneof(fault, change), { minLength: 3, maxLength: 6 });

function unit() {
  return fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
}

/** Declaration of the pool. */
interface Declared {
  release: string;
  web: number;
  worker: number;
}

/** A host, and what its pool is declared to be. */
export class SequenceHost {
  private declared: Declared = { release: "", web: 1, worker: 1 };
  /** Releases that were once in force, and are targets of rollbacks. */
  private readonly known: string[] = [];

  constructor(readonly world: World) {}

  /** A good promotion, then the operations, then all must be as declared: no orphan, nothing missing, no second singleton. */
  async run(operations: readonly Operation[]): Promise<void> {
    await this.apply({ change: "deploy", web: 2, worker: 2, meanwhile: null }, true);
    for (const operation of operations) {
      if ("change" in operation) await this.apply(operation, false);
      else await this.hit(operation);
    }
    await assertWhole(this.subject(), this.declared.release);
    const doubles = join(this.world.directory, "doubles");
    assert.equal(existsSync(doubles) ? readFileSync(doubles, "utf8") : "", "", "singletons that met");
  }

  private async apply({ change, web, worker, meanwhile }: Change, mustSucceed: boolean): Promise<void> {
    const { world } = this;
    const before = this.declared;
    const release =
      change === "deploy"
        ? world.nextRelease()
        : change === "scale"
          ? before.release
          : (this.known.findLast((id) => id !== before.release) ?? before.release);
    const after = { release, web, worker };
    const deployment = world.deploy(release, this.processesOf(after));
    if (meanwhile !== null) {
      await sleep(meanwhile.afterMs);
      if (meanwhile.what.fault === "deployer") deployment.kill("SIGKILL");
      else await this.hit(meanwhile.what);
    }
    const { exit, output } = await deployment.finished;
    if (mustSucceed) assert.equal(exit, 0, output);
    await world.quiet();
    const outcome = await this.committed();
    if (exit === 0) assert.deepEqual(outcome, after, "the deployer was told of a commit that is not one");
    else if (exit === 1) assert.deepEqual(outcome, before, `told of a failure, but it is committed: ${output}`);
    else
      assert.ok(
        [before, after].some((each) => same(each, outcome)),
        `${JSON.stringify(outcome)} is committed`,
      );
    this.declared = outcome;
    if (!this.known.includes(outcome.release)) this.known.push(outcome.release);
  }

  private async hit(fault: Fault): Promise<void> {
    const { world } = this;
    if (fault.fault === "crash") await this.crash(fault.victim);
    else if (fault.fault === "restart")
      await world.client.restart(POOL, { process: fault.process }).catch((error: unknown) => {
        if (!(error instanceof AgentError && REFUSALS.includes(error.code))) throw error;
      });
    else {
      // It may be on its way back from the strike before.
      const { agent, guard } = await until("an agent", () => world.agent(), { deadlineMs: AGENT_MS });
      if (fault.fault === "agent and guard") kill(guard);
      kill(agent);
      if (fault.fault === "agent and guard") await world.startAgent();
    }
  }

  /** Kills one of the apps that run, of whatever release. Their shims live. */
  private async crash(victim: number): Promise<void> {
    const marked = await findMarked(await markerOf(this.world.directory));
    const pids = new Set(marked.map(({ pid }) => pid));
    const apps = marked.filter(({ pid, id }) => !id.startsWith("edge.") && pids.has(readStat(pid)?.parent ?? 0));
    const chosen = apps.toSorted((a, b) => a.id.localeCompare(b.id))[Math.floor(victim * apps.length)];
    if (chosen !== undefined) send(chosen.pid, "SIGKILL");
  }

  private async committed(): Promise<Declared> {
    const text = await readFile(join(this.world.directory, "state.json"), "utf8");
    const { pools } = (JSON.parse(text) as { state: { pools: Record<string, PoolState> } }).state;
    const current = pools[POOL]?.current;
    return {
      release: current?.release.id ?? "",
      web: current?.processes.web?.replicas ?? 0,
      worker: current?.processes.worker?.replicas ?? 0,
    };
  }

  private processesOf({ web, worker }: Declared): Partial<PoolInput> {
    const { directory } = this.world;
    const env = { LOCK: join(directory, "lock"), DOUBLES: join(directory, "doubles") };
    const base = this.world.pool("any").processes;
    const restart = { delay: "100 milliseconds", factor: 1, maxRestarts: 1000 } as const;
    return {
      processes: {
        web: { ...base.web, command: base.web?.command ?? [], policy: "proxied", replicas: web, restart },
        store: { policy: "service", command: ["sleep", "1000000"], restart },
        worker: { policy: "companion", command: ["sleep", "1000000"], replicas: worker, restart },
        clock: { policy: "singleton", command: ["/bin/sh", "-c", SINGLETON], env, restart },
      },
    };
  }

  private subject(): Subject {
    const { world } = this;
    const { directory, client, edgePort, edgeName, edge, poolName } = world;
    const pool = (release: string) => world.pool(release, this.processesOf(this.declared));
    return { directory, client, edgePort, edgeName, edge, poolName, pool, quiet: () => world.quiet() };
  }
}

function same(a: Declared, b: Declared): boolean {
  return a.release === b.release && a.web === b.web && a.worker === b.worker;
}
