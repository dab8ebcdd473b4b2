import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { allStats, type ProcessStat, send } from "../../../src/agent/processes/identity";
import type { AgentEvent } from "../../../src/model/protocol/transaction";
import { until } from "../../support/until";
import { shows } from "../checks";
import type { Command } from "../commands";
import type { Demo, Done } from "../demo";
import { say } from "../screen";
import type { Story } from "../story";

const HOST = "local";
const PHASE_DEADLINE_MS = 120_000;
/** Of the promotion from v1 to v2. */
let promotion = "";

export const story: Story = {
  // The edge's, 20 for the pool, one for its service.
  ports: 22,
  hosts: [HOST],
  config: ({ hosts }) => ({ directory: join(hosts, HOST), release: "v1" }),
  // Small enough for a laptop, and enough that anything dropped would show.
  load: { rate: 60, connections: 6, slow: 3, websockets: 6, streams: 3 },
  steps: [
    { name: "up: an edge, and a pool with release v1", run: bringUp },
    { name: "promote v1 -> v2", run: promote },
    { name: "somebody changes HAProxy by hand; the preview shows it, up mends it", run: drift },
    { name: "v3 never becomes healthy: up fails, v2 goes on", run: fail },
    { name: "roll back to v1", run: rollBack },
    { name: "kill -9 in the middle of a promotion: the host undoes it by itself", run: kill },
    { name: "destroy leaves nothing running", run: destroy },
  ],
};

async function bringUp(demo: Demo): Promise<Done> {
  await demo.run(["pulumi", "stack", "init", "demo"]);
  const up = await demo.up();
  await serves(demo, "v1");
  await demo.startLoad("keep-alive GETs and POSTs, responses of 3 s, WebSockets, event streams");
  return up;
}

async function promote(demo: Demo): Promise<Done> {
  await demo.set("release", "v2");
  const preview = await demo.preview();
  shows(preview.output, /~ release *: "v1" => "v2"/, "the preview says what would change on the live system");
  const up = await demo.up();
  await serves(demo, "v2");
  promotion = await demo.lastChange(HOST, "pool/web");
  return up;
}

async function drift(demo: Demo): Promise<Done> {
  const server = Object.entries((await demo.agent(HOST).edge("main"))?.observed.backends.web ?? {}).find(
    ([, { leavingUntil }]) => leavingUntil === undefined,
  )?.[0];
  const socket = join(demo.project.hosts, HOST, "edges", "main", "worker.sock");
  await demo.run(...toHaproxy(`set server web/${server} state maint`, socket));
  const preview = await demo.preview();
  shows(preview.output, /~ state *: "maint" => "ready"/, "the preview shows what was changed by hand");
  const up = await demo.up();
  await serves(demo, "v2");
  return up;
}

/** A command of HAProxy's runtime API, sent as people do, or else without further tools; and how it is printed. */
function toHaproxy(command: string, socket: string): [command: Command, expected: "works", shown: string] {
  const script = `echo '${command}' | socat - ${socket}`;
  const hasSocat = execFileSync("/bin/sh", ["-c", "command -v socat || true"], { encoding: "utf8" }).trim() !== "";
  if (hasSocat) return [["/bin/sh", "-c", script], "works", script];
  const code = `net.connect(${JSON.stringify(socket)}).end(${JSON.stringify(`${command}\n`)}).resume()`;
  return [[process.execPath, "-e", code], "works", `node -e '${code}'`];
}

async function fail(demo: Demo): Promise<Done> {
  await demo.set("release", "v3");
  const up = await demo.up("fails");
  shows(up.output, /not healthy within 5 seconds.*GET \/healthz answered 503/, "the message says why");
  shows(up.output, /\| .*web v3 error: health check fails/, "with the last lines that the process printed");
  await serves(demo, "v2");
  return up;
}

async function rollBack(demo: Demo): Promise<Done> {
  await demo.set("release", "v1");
  const up = await demo.up();
  await serves(demo, "v1");
  return up;
}

async function kill(demo: Demo): Promise<Done> {
  await demo.set("release", "v2");
  const following = new AbortController();
  const news = record(demo, following.signal);
  const up = demo.startUp();
  // In this phase the traffic is on v2 already, and its scheduler is about to replace v1's.
  await until("the promotion to be half done", () => news().some(isPhase("follow")), { deadlineMs: PHASE_DEADLINE_MS });
  const killed = await killDeployer(demo, up.pid);
  say(
    `$ kill -9 ${killed.join(" ")}     # pulumi and all that it started, as when the deploying machine loses its power`,
  );
  const killedAt = performance.now();
  await up.finished;
  const undone = ({ message }: AgentEvent) => /^the transaction on pool\/web is undone/.test(message);
  await until("the agent to undo the promotion", () => news().some(undone), { deadlineMs: PHASE_DEADLINE_MS });
  say(`  ${((performance.now() - killedAt) / 1000).toFixed(1)} s later, in the host's own words:`);
  const events = news();
  for (const { message } of events.slice(events.findIndex(isPhase("follow")))) say(`  | ${message}`);
  following.abort();
  await serves(demo, "v1");

  const locked = await demo.startUp().finished;
  if (locked.exit === 0) return served(demo, locked);
  shows(
    locked.output,
    /locked by 1 lock/,
    "the engine asks for pulumi cancel, as the killed update still holds its lock",
  );
  await demo.run(["pulumi", "cancel", "--yes", "demo"]);
  return served(demo, await demo.up());
}

async function served(demo: Demo, up: Done): Promise<Done> {
  await serves(demo, "v2");
  return up;
}

/** Collects what the agent says from now on; asking for it fails where the agent can't be followed. */
function record(demo: Demo, signal: AbortSignal): () => AgentEvent[] {
  const events: AgentEvent[] = [];
  const from = new Date().toISOString();
  let failure: unknown;
  const follow = async () => {
    for await (const event of demo.agent(HOST).events(signal)) if (event.at >= from) events.push(event);
  };
  follow().catch((error: unknown) => {
    failure = error;
  });
  return () => {
    if (failure !== undefined) throw failure;
    return events;
  };
}

function isPhase(phase: string): (event: AgentEvent) => boolean {
  return ({ data }) => data.phase === phase;
}

/**
 * Ends the CLI with everything that it started. (The CLI alone would not show what the host does: the provider notices that
 * it is gone, and undoes the change at once.)
 */
async function killDeployer(demo: Demo, cli: number): Promise<number[]> {
  const holder = (await demo.agent(HOST).status()).transactions[0]?.owner.pid;
  const family = descendants(cli, await allStats());
  assert.ok(
    holder !== undefined && family.includes(holder),
    "the promotion should still be open, held by pulumi's plugin",
  );
  for (const pid of family) send(pid, "SIGKILL");
  return family;
}

function descendants(pid: number, all: readonly ProcessStat[]): number[] {
  return [pid, ...all.filter(({ parent }) => parent === pid).flatMap((child) => descendants(child.pid, all))];
}

async function destroy(demo: Demo): Promise<Done> {
  await demo.showEvidence(HOST, promotion);
  return demo.destroy();
}

/** Fails unless this release, and it alone, serves, and the host agrees with that. */
async function serves(demo: Demo, release: string): Promise<void> {
  await demo.serves(release);
  const replica = { state: "ready", weight: 100 };
  assert.deepEqual(
    (await demo.agent(HOST).pool("web"))?.live,
    {
      release,
      servers: { "web#0": replica, "web#1": replica },
      processes: {
        cache: "running",
        "feeder#0": "running",
        "web#0": "running",
        "web#1": "running",
        scheduler: "running",
      },
    },
    "what the host reports",
  );
}
