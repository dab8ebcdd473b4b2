import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { allStats, commandOf, type ProcessStat, send } from "../../agent/processes/identity";
import type { AgentEvent } from "../../model/transaction";
import type { LoadReport } from "../load/report";
import { summarize } from "../load/report";
import { isFree } from "../support/ports";
import { until } from "../support/until";
import { shows } from "./checks";
import type { Outcome } from "./commands";
import type { Demo } from "./demo";
import { processesLeft } from "./leftovers";
import { say } from "./screen";

/** A step ends with the command that it was about; the last one has the load's totals. */
export type Done = Pick<Outcome, "command" | "exit"> & { load?: LoadReport };

export const STEPS: readonly { name: string; run: (demo: Demo) => Promise<Done> }[] = [
  { name: "up: an edge, and a pool with release v1", run: bringUp },
  { name: "promote v1 -> v2", run: promote },
  { name: "somebody changes HAProxy by hand; the preview shows it, up mends it", run: drift },
  { name: "v3 never becomes healthy: up fails, v2 goes on", run: fail },
  { name: "roll back to v1", run: rollBack },
  { name: "kill -9 in the middle of a promotion: the host undoes it by itself", run: kill },
  { name: "destroy leaves nothing running", run: destroy },
];

const UP: [string, ...string[]] = ["pulumi", "up", "--yes", "--skip-preview"];

async function bringUp(demo: Demo): Promise<Done> {
  await demo.run(["pulumi", "stack", "init", "demo"]);
  const up = await demo.run(UP);
  await demo.serves("v1");
  await demo.startLoad();
  say("✓ a load runs from now on: keep-alive GETs and POSTs, responses of 3 s, WebSockets, event streams");
  return up;
}

async function promote(demo: Demo): Promise<Done> {
  await setRelease(demo, "v2");
  const preview = await demo.run(["pulumi", "preview", "--diff"]);
  shows(preview.output, /~ release *: "v1" => "v2"/, "the preview says what would change on the live system");
  const up = await demo.run(UP);
  await demo.serves("v2");
  return up;
}

async function drift(demo: Demo): Promise<Done> {
  const server = Object.entries((await demo.agent.edge("main"))?.observed.backends.web ?? {}).find(
    ([, { leavingUntil }]) => leavingUntil === undefined,
  )?.[0];
  const socket = join(demo.project.host, "edges", "main", "worker.sock");
  await demo.run(...toHaproxy(`set server web/${server} state maint`, socket));
  const preview = await demo.run(["pulumi", "preview", "--diff"]);
  shows(preview.output, /~ state *: "maint" => "ready"/, "the preview shows what was changed by hand");
  const up = await demo.run(UP);
  await demo.serves("v2");
  return up;
}

/** A command of HAProxy's runtime API, sent as people do, or else without further tools; and how it is printed. */
function toHaproxy(
  command: string,
  socket: string,
): [command: [string, ...string[]], expected: "works", shown: string] {
  const script = `echo '${command}' | socat - ${socket}`;
  const hasSocat = execFileSync("/bin/sh", ["-c", "command -v socat || true"], { encoding: "utf8" }).trim() !== "";
  if (hasSocat) return [["/bin/sh", "-c", script], "works", script];
  const code = `net.connect(${JSON.stringify(socket)}).end(${JSON.stringify(`${command}\n`)}).resume()`;
  return [[process.execPath, "-e", code], "works", `node -e '${code}'`];
}

async function fail(demo: Demo): Promise<Done> {
  await setRelease(demo, "v3");
  const up = await demo.run(UP, "fails");
  shows(up.output, /not healthy within 5 seconds.*GET \/healthz answered 503/, "the message says why");
  shows(up.output, /\| .*web v3 error: health check fails/, "with the last lines that the process printed");
  await demo.serves("v2");
  return up;
}

async function rollBack(demo: Demo): Promise<Done> {
  await setRelease(demo, "v1");
  const up = await demo.run(UP);
  await demo.serves("v1");
  return up;
}

async function kill(demo: Demo): Promise<Done> {
  await setRelease(demo, "v2");
  const following = new AbortController();
  const events = record(demo, following.signal);
  const up = demo.start(UP);
  // In this phase the traffic is on v2 already, and its scheduler is about to replace v1's.
  await until("the promotion to be half done", () => events.some(isPhase("follow")), { deadlineMs: 30_000 });
  const killed = await killDeployer(demo, up.pid);
  say(
    `$ kill -9 ${killed.join(" ")}     # pulumi and all that it started, as when the deploying machine loses its power`,
  );
  const killedAt = performance.now();
  await up.finished;
  const undone = ({ message }: AgentEvent) => /is undone$/.test(message);
  await until("the agent to undo the promotion", () => events.some(undone), { deadlineMs: 30_000 });
  say(`  ${((performance.now() - killedAt) / 1000).toFixed(1)} s later, in the host's own words:`);
  for (const { message } of events.slice(events.findIndex(isPhase("follow")))) say(`  | ${message}`);
  following.abort();
  await demo.serves("v1");

  const locked = await demo.start(UP).finished;
  if (locked.exit === 0) return served(demo, locked);
  shows(
    locked.output,
    /locked by 1 lock/,
    "the engine asks for pulumi cancel, as the killed update still holds its lock",
  );
  await demo.run(["pulumi", "cancel", "--yes", "demo"]);
  return served(demo, await demo.run(UP));
}

async function served(demo: Demo, up: Outcome): Promise<Done> {
  await demo.serves("v2");
  return up;
}

/** Collects what the agent says from now on. */
function record(demo: Demo, signal: AbortSignal): AgentEvent[] {
  const events: AgentEvent[] = [];
  const from = new Date().toISOString();
  const follow = async () => {
    for await (const event of demo.agent.events(signal)) if (event.at >= from) events.push(event);
  };
  follow().catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
  return events;
}

function isPhase(phase: string): (event: AgentEvent) => boolean {
  return ({ data }) => data.phase === phase;
}

/**
 * Ends the CLI with everything that it started. (The CLI alone would not show what the host does: the provider notices that
 * it is gone, and undoes the change at once.)
 */
async function killDeployer(demo: Demo, cli: number): Promise<number[]> {
  const holder = (await demo.agent.status()).transactions[0]?.owner.pid;
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
  const load = await demo.stopLoad();
  say(`the load ends: ${summarize(load)}`);
  const done = await demo.run(["pulumi", "destroy", "--yes", "--skip-preview"]);
  await until("no process to be left", async () => {
    const left = await Promise.all((await processesLeft()).map(async ({ pid }) => `${pid} ${await commandOf(pid)}`));
    if (left.length > 0) throw new Error(`there are ${left.join("; ")}`);
    return true;
  });
  say("✓ no process is left");
  const { port } = demo.project;
  assert.ok(await isFree(port), `nothing should listen on port ${port}`);
  say(`✓ nothing listens on port ${port}`);
  return { ...done, load };
}

async function setRelease(demo: Demo, release: string): Promise<void> {
  await demo.run(["pulumi", "config", "set", "release", release]);
}
