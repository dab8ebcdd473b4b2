import { shows } from "../checks";
import type { Demo, Done } from "../demo";
import type { Story } from "../story";

const EDGES = ["edge-1", "edge-2"];
const NODES = ["node-1", "node-2", "node-3"];
/** Of the release v2 on the last node. */
let promotion = "";

export const story: Story = {
  // Two edges, and from the tenth on three nodes.
  ports: 13,
  hosts: [...EDGES, ...NODES],
  config: ({ hosts }) => ({ directory: hosts, release: "v1", window: "8 seconds" }),
  load: { rate: 100, connections: 8, postShare: 0, slow: 0, websockets: 0, streams: 0 },
  bad: ["v4"],
  steps: [
    { name: "up: two edges, and v1 on three nodes", run: bringUp },
    { name: "v1 -> v2: node-1 first, watched in the traffic, then the others", run: promote },
    { name: "v4 answers 2 % with errors: the window sees it, and node-1 gets v2 back", run: breach },
    { name: "roll back to v1", run: rollBack },
    { name: "destroy leaves nothing running", run: destroy },
  ],
};

async function bringUp(demo: Demo): Promise<Done> {
  await demo.run(["pulumi", "stack", "init", "canary"]);
  const up = await demo.up();
  await demo.serves("v1");
  await demo.startLoad("keep-alive GETs to the first edge");
  return up;
}

async function promote(demo: Demo): Promise<Done> {
  await demo.set("release", "v2");
  const preview = await demo.preview();
  shows(preview.output, /node-1/, "the preview shows the plan, node by node");
  const up = await demo.up();
  await demo.serves("v2");
  promotion = await demo.lastChange("node-1", "pool/web-node-1");
  return up;
}

async function breach(demo: Demo): Promise<Done> {
  await demo.set("release", "v4");
  const up = await demo.up("fails");
  shows(up.output, /5xx .* %, not < 0\.5 %|errors .* %, not/, "the message says what the window has measured");
  await demo.serves("v2");
  return up;
}

async function rollBack(demo: Demo): Promise<Done> {
  await demo.set("release", "v1");
  const up = await demo.up();
  await demo.serves("v1");
  return up;
}

async function destroy(demo: Demo): Promise<Done> {
  await demo.showEvidence("node-1", promotion);
  return demo.destroy();
}
