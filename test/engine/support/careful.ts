import assert from "node:assert/strict";
import path from "node:path";
import type { TestContext } from "node:test";
import { type Outcome, REPOSITORY, violationsOf } from "./engine";
import { HostedStack } from "./hosted";

const PACK = path.join(REPOSITORY, "policies");
/** A freeze around now, whatever the clock says. */
export const FROZEN = {
  "freeze-window": { calendar: [{ name: "test freeze", from: "2000-01-01", to: "2099-12-31" }] },
};
export const GATE = { kind: "sli", thresholds: ["5xx < 1 %"], minRequests: 20, interval: "1 second" };
/** A window in which the meter sees requests even where the machine is busy. */
const WINDOW = "10 seconds";

/** Refusals of an update: policies and resources, in alphabetical order. */
export function refusals(outcome: Outcome): string[] {
  const titles = violationsOf(outcome).map(({ title }) => title);
  return titles
    .filter((title) => title.startsWith("mandatory "))
    .map((title) => title.slice("mandatory ".length))
    .toSorted();
}

/** What the violations of an outcome say. */
export function textOf(outcome: Outcome): string {
  return violationsOf(outcome)
    .map(({ message }) => message)
    .join("\n");
}

/** A stack that the policy pack lets through: two pools, and a route between them. */
export async function carefulStack(t: TestContext) {
  const hosted = await HostedStack.create(t, { stack: "prod" });
  const { stack, port } = hosted;
  const withPack = async (config: object = {}) => {
    await stack.write(
      "pack.json",
      JSON.stringify({ "sli-window": { minimum: WINDOW }, "minimum-requests": { requests: 20 }, ...config }),
    );
    return ["--policy-pack", PACK, "--policy-pack-config", path.join(stack.folder, "pack.json")];
  };
  const clock = { policy: "singleton", command: ["sleep", "1000"] };
  const processes = (web: object = {}, more: object = {}) => ({ processes: { web: hosted.web(web), ...more } });
  const pool = (id: string, from: number, changes: object = {}) =>
    hosted.pool(id, { ports: { from: port + from, to: port + from + 3 }, longestRequest: "5 seconds", ...changes });
  const edges = { main: hosted.edge({ meter: true }) };
  const pools = { web: pool("v1", 1, processes({}, { clock })), api: pool("v1", 5) };
  const stages = ["10%", "100%"].map((split) => ({ split, window: WINDOW, gates: [GATE] }));
  const route = { edges: ["main"], stable: "web", candidate: "api", slo: ["5xx < 1 %"], stages, stage: "stable" };
  const careful = { edges, pools, routes: { all: route } };
  /** Expects that both a preview and an update are refused for exactly these reasons; gives what was said of them. */
  const refused = async (args: string[], reasons: string[]): Promise<string> => {
    const preview = await stack.preview(...args);
    assert.notEqual(preview.exit, 0);
    assert.deepEqual(refusals(preview), reasons, preview.stdout);
    const up = await stack.up(...args);
    assert.notEqual(up.exit, 0);
    assert.deepEqual(refusals(up), reasons, up.stdout);
    return textOf(preview);
  };
  return { hosted, refused, withPack, processes, pool, pools, edges, route, careful, clock };
}
