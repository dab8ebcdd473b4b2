import { join } from "node:path";
import { isFree } from "../../support/ports";
import { until } from "../../support/until";
import { json, shows } from "../checks";
import type { Running } from "../commands";
import type { Demo, Done } from "../demo";
import { ROOT } from "../project";
import { say } from "../screen";
import type { Story } from "../story";

const HOST = "local";
const SYSTEMS = ["old", "fresh"] as const;
/** The two systems, which the stack does not run. */
let systems: Running[] = [];
/** To 100%. */
let promotion = "";

/** Port of a system: the ones after the edge's. */
function portOf(system: (typeof SYSTEMS)[number], edge: number): number {
  return edge + 1 + SYSTEMS.indexOf(system);
}

export const story: Story = {
  ports: 1 + SYSTEMS.length,
  hosts: [HOST],
  config: ({ hosts, port }) => ({
    directory: join(hosts, HOST),
    old: `127.0.0.1:${portOf("old", port)}`,
    fresh: `127.0.0.1:${portOf("fresh", port)}`,
    requests: "requests.jsonl",
    // Short, since nobody wants to watch for hours; and one machine does everything.
    window: "10 seconds",
    minRequests: "1",
    p99: "20 seconds",
  }),
  load: { rate: 120, connections: 16, postShare: 0, slow: 0, websockets: 0, streams: 0 },
  steps: [
    { name: "two systems, and an edge that leads to the old one", run: bringUp },
    { name: "1%: the same answers, then a shadow, then one request in a hundred", run: begin },
    { name: "back to the old system, at once", run: goBack },
    { name: "all the way to 100%, stage by stage", run: goOn },
    { name: "the old system is decommissioned", run: decommission },
    { name: "destroy leaves nothing running", run: destroy },
  ],
};

async function bringUp(demo: Demo): Promise<Done> {
  const { port } = demo.project;
  systems = SYSTEMS.map((name) =>
    demo.start(["node", join(ROOT, "stacks", "cutover", "system.mjs"), `${portOf(name, port)}`, name]),
  );
  for (const name of SYSTEMS) await until(`${name} to listen`, async () => !(await isFree(portOf(name, port))));
  await demo.run(["pulumi", "stack", "init", "cutover"]);
  const up = await demo.up();
  await answersBy(demo, "old");
  await demo.startLoad("keep-alive GETs");
  return up;
}

async function begin(demo: Demo): Promise<Done> {
  await demo.set("stage", "1%");
  const preview = await demo.preview();
  shows(preview.output, /from 0% to 1% of the requests in 3 stages/, "the preview shows the stages on the way");
  return demo.up();
}

async function goBack(demo: Demo): Promise<Done> {
  await demo.set("stage", "stable");
  const up = await demo.up();
  await answersBy(demo, "old");
  return up;
}

async function goOn(demo: Demo): Promise<Done> {
  await demo.set("stage", "100%");
  const up = await demo.up();
  await answersBy(demo, "fresh");
  promotion = await demo.lastChange(HOST, "route/catalogue");
  return up;
}

async function decommission(demo: Demo): Promise<Done> {
  await demo.set("stage", "decommissioned");
  const up = await demo.up();
  await answersBy(demo, "fresh");
  return up;
}

async function destroy(demo: Demo): Promise<Done> {
  await demo.showEvidence(HOST, promotion);
  return demo.destroy(async () => {
    await demo.run(["/bin/kill", ...systems.map(({ pid }) => `${pid}`)]);
    await Promise.all(systems.map(({ finished }) => finished));
  });
}

async function answersBy(demo: Demo, system: (typeof SYSTEMS)[number]): Promise<void> {
  const { by } = await json(demo.project.port, "GET", "/");
  if (by !== system) throw new Error(`the edge should lead to ${system}, but ${by} answers`);
  say(`✓ the edge leads to the ${system} system`);
}
