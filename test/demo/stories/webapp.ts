import { join } from "node:path";
import { until } from "../../support/until";
import { json, shows } from "../checks";
import type { Demo, Done } from "../demo";
import { say } from "../screen";
import type { Story } from "../story";

const HOST = "webapp";
const JOBS = 6;
/** Of v1 to v2. */
let promotion = "";

export const story: Story = {
  // The edge's, 20 for the pool, one for the broker.
  ports: 22,
  hosts: [HOST],
  config: ({ folder, hosts }) => ({
    directory: join(hosts, HOST),
    data: join(folder, "data"),
    release: "v1",
  }),
  load: { rate: 60, connections: 6, postShare: 0, slow: 0, websockets: 0, streams: 0 },
  steps: [
    { name: "up: an edge, a broker, workers, a coordinator, and the web replicas of v1", run: bringUp },
    { name: "promote v1 -> v2 while jobs run: old workers finish theirs", run: promote },
    { name: "v3 never becomes healthy: up fails, v2 goes on", run: fail },
    { name: "roll back to v1", run: rollBack },
    { name: "destroy leaves nothing running", run: destroy },
  ],
};

async function bringUp(demo: Demo): Promise<Done> {
  await demo.run(["pulumi", "stack", "init", "webapp"]);
  const up = await demo.up();
  await demo.serves("v1");
  await demo.startLoad("keep-alive GETs");
  return up;
}

async function promote(demo: Demo): Promise<Done> {
  const { port } = demo.project;
  const put = Array.from({ length: JOBS }, () => json(port, "POST", "/jobs?seconds=3"));
  const ids = (await Promise.all(put)).map(({ id }) => String(id));
  say(`✓ ${ids.length} jobs of 3 s were put: POST /jobs?seconds=3`);
  await demo.set("release", "v2");
  const preview = await demo.preview();
  shows(preview.output, /~ release *: "v1" => "v2"/, "the preview says what would change on the live system");
  const up = await demo.up();
  await demo.serves("v2");
  promotion = await demo.lastChange(HOST, "pool/web");
  await until("all jobs to be done", async () => {
    const states = await Promise.all(ids.map(async (id) => (await json(port, "GET", `/jobs/${id}`)).state));
    if (states.some((state) => state !== "done")) throw new Error(states.join(", "));
    return true;
  });
  say(`✓ all ${ids.length} jobs are done`);
  return up;
}

async function fail(demo: Demo): Promise<Done> {
  await demo.set("release", "v3");
  const up = await demo.up("fails");
  shows(up.output, /not healthy within 10 seconds/, "the message says why");
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
  await demo.showEvidence(HOST, promotion);
  return demo.destroy();
}
