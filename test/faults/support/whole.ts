import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import type { AgentClient } from "../../../src/agent/client/client";
import { ask } from "../../../src/agent/haproxy/runtime/runtime-api";
import { findMarked, type Marked } from "../../../src/agent/processes/identity";
import type { EdgeSpec } from "../../../src/model/edge/edge";
import type { PoolSpec } from "../../../src/model/pool/pool";
import { replicaKeys } from "../../../src/model/pool/pool-instances";
import type { PoolState } from "../../../src/model/pool/pool-state";
import { expectedPool } from "../../../src/model/protocol/live";
import { until } from "../../support/until";
import { markerOf } from "./host";

/** A host whose state is looked at. */
export interface Subject {
  directory: string;
  client: AgentClient;
  edgePort: number;
  edgeName: string;
  edge: EdgeSpec;
  poolName: string;
  pool(release: string): PoolSpec;
  /** Waits until an agent answers and nothing is being promoted or undone. */
  quiet(): Promise<void>;
}

/** Longest drain, stop and restart of what a fault leaves behind. */
const SETTLE_MS = 20_000;

/** The release that is committed, as the state file says. */
export async function committedRelease(subject: Subject): Promise<string> {
  return (await committedPool(subject)).current?.release.id ?? "";
}

async function committedPool({ directory, poolName }: Subject): Promise<PoolState> {
  const text = await readFile(join(directory, "state.json"), "utf8");
  return (JSON.parse(text) as { state: { pools: Record<string, PoolState> } }).state.pools[poolName] as PoolState;
}

/**
 * Waits until nothing is left of what a fault interrupted, and then everything must agree: what is committed, what runs,
 * HAProxy's servers, the files on disk, and what the agent says about it all. Each is looked at where it is, not through
 * the agent.
 */
export async function assertWhole(subject: Subject, release: string): Promise<void> {
  await subject.quiet();
  let last: unknown;
  // Processes that do not agree yet may still be draining; if they never agree, an assertion below says so.
  const agreed = until(
    `release ${release} to be all there is`,
    async () => {
      try {
        await look(subject, release);
        return true;
      } catch (error) {
        last = error;
        return false;
      }
    },
    { deadlineMs: SETTLE_MS, intervalMs: 50 },
  );
  await agreed.catch((error: unknown) => {
    throw last ?? error;
  });
}

async function look(subject: Subject, release: string): Promise<void> {
  const state = await committedPool(subject);
  assert.equal(state.current?.release.id, release, "committed release");
  assert.equal(state.next, undefined, "a candidate is committed");
  assert.equal(state.serving, "current");
  assert.equal(state.singletonsOf, "current");
  const copy = await readFile(join(subject.directory, "state.copy.json"), "utf8");
  assert.equal(copy, await readFile(join(subject.directory, "state.json"), "utf8"), "the state's two copies differ");

  const generation = state.current?.number ?? 0;
  const spec = subject.pool(release);
  const own = Object.entries(spec.processes).flatMap(([process, template]) =>
    template.policy === "service"
      ? [`${subject.poolName}.service.${process}`]
      : replicaKeys(process, template).map((_, index) => `${subject.poolName}.${generation}.${process}.${index}`),
  );
  const wanted = [...own, `edge.${subject.edgeName}`].toSorted();
  await checkProcesses(subject, own, wanted, release);
  await checkFiles(subject, wanted);
  await checkHaproxy(subject, state, generation);

  const step = { verb: "edge.set" as const, edge: subject.edgeName, spec: subject.edge };
  const { taken: _owner, ...plan } = await subject.client.plan(step);
  assert.deepEqual(plan, { how: "nothing", reasons: [] });
  assert.deepEqual((await subject.client.pool(subject.poolName))?.live, expectedPool(spec));
  assert.equal((await subject.client.edge(subject.edgeName))?.live.config, "as declared");
}

/** Every process of the agent is wanted, there once (its shim and itself), and of the committed release. */
async function checkProcesses(subject: Subject, own: string[], wanted: string[], release: string): Promise<void> {
  const marked = await findMarked(await markerOf(subject.directory));
  assert.deepEqual([...new Set(marked.map(({ id }) => id))].toSorted(), wanted, "processes that run");
  for (const id of own) {
    const mine = marked.filter((process) => process.id === id);
    assert.equal(mine.length, 2, `${id}: ${mine.length - 1} processes`);
    // A service goes on across releases.
    if (!id.includes(".service.")) assert.deepEqual(await releasesOf(mine), [release], `release of ${id}`);
  }
}

async function releasesOf(processes: Marked[]): Promise<string[]> {
  const environments = await Promise.all(processes.map(({ pid }) => readFile(`/proc/${pid}/environ`, "utf8")));
  const ids = environments.flatMap((text) =>
    text.split("\0").flatMap((line) => (line.startsWith("SLUICE_RELEASE_ID=") ? [line.split("=")[1] ?? ""] : [])),
  );
  return [...new Set(ids)];
}

/** The records on disk are those of what runs, and nothing half written is left. */
async function checkFiles({ directory }: Subject, wanted: string[]): Promise<void> {
  const records = (await readdir(join(directory, "processes"))).filter((name) => !name.startsWith("."));
  assert.deepEqual(records.toSorted(), wanted, "process records");
  const stateFiles = await readdir(join(directory, "processes", ".lives"));
  const own = wanted.filter((id) => !id.startsWith("edge.")).map((id) => `${id}.json`);
  assert.deepEqual(stateFiles.toSorted(), own.toSorted(), "lives of processes");
  assert.deepEqual((await readdir(join(directory, "processes", ".status"))).toSorted(), wanted, "status files");
  const half = (await readdir(directory, { recursive: true })).filter((name) => name.endsWith(".tmp"));
  assert.deepEqual(half, [], "half-written files");
}

/** HAProxy has exactly the committed servers, up and ready; its config on disk has the same ones. */
async function checkHaproxy(subject: Subject, state: PoolState, generation: number): Promise<void> {
  const folder = join(subject.directory, "edges", subject.edgeName);
  const expected = Object.entries(state.current?.ports ?? {})
    .map(([key, port]) => `${key.replace("#", `-${generation}-`)} 127.0.0.1:${port}`)
    .toSorted();
  const [head = "", ...rows] = (await ask(join(folder, "worker.sock"), `show servers state ${subject.poolName}`))
    .split("\n")
    .slice(1)
    .filter((line) => line !== "");
  const titles = head.slice(2).split(" ");
  const running = rows.map((row) => {
    const cell = (title: string) => row.split(" ")[titles.indexOf(title)] ?? "";
    assert.equal(cell("srv_admin_state"), "0", `${cell("srv_name")} is not ready`);
    assert.equal(cell("srv_op_state"), "2", `${cell("srv_name")} is not up`);
    return `${cell("srv_name").split(".")[0]} ${cell("srv_addr")}:${cell("srv_port")}`;
  });
  assert.deepEqual(running.toSorted(), expected, "HAProxy's servers");
  const config = await readFile(join(folder, "haproxy.cfg"), "utf8");
  const written = [...config.matchAll(/^ {2}server (\S+) (\S+) /gm)].map(([, id, at]) => `${id?.split(".")[0]} ${at}`);
  assert.deepEqual(written.toSorted(), expected, "servers in haproxy.cfg");
}

/** The release that answers through the edge now. */
export function answeringRelease({ edgePort }: Subject): Promise<string> {
  return new Promise((resolve, reject) => {
    const call = request({ host: "127.0.0.1", port: edgePort, path: "/", agent: false }, (response) => {
      response.resume();
      resolve(String(response.headers["x-release"] ?? response.statusCode));
    });
    call.on("error", reject);
    call.end();
  });
}
