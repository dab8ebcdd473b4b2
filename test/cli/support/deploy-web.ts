/** A program of its own, for the systemd test: brings up edge `main` on port 8080 and pool `web`, whose processes run as nobody. */
import { mkdirSync, writeFileSync } from "node:fs";
import { AgentClient } from "../../../src/agent/client/client";
import { edgeStep } from "../../agent/support/pool";
import { change } from "../../support/transaction";

const FOLDER = "/srv/app/v1";
/** Answers with its release, its user and its limit of open files. */
const APP = `
const limit = /^Max open files +(\\d+)/m.exec(require("node:fs").readFileSync("/proc/self/limits", "utf8"))[1];
require("node:http")
  .createServer((request, response) => response.end([process.env.SLUICE_RELEASE_ID, process.getuid(), limit].join(" ")))
  .listen(Number(process.env.SLUICE_PORT), "127.0.0.1");
`;

async function main(): Promise<void> {
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(`${FOLDER}/app.cjs`, APP);
  const client = new AgentClient("/run/sluice/agent.sock");
  const web = {
    policy: "proxied" as const,
    command: [process.execPath, "app.cjs"],
    replicas: 2,
    user: "nobody",
    limits: { files: 4096, core: "0 B" as const },
    health: { path: "/" as const, deadline: "1 minute" as const },
  };
  const worker = { policy: "companion" as const, command: ["sleep", "1000000"], user: "nobody" };
  await change(client, "edge/main", [edgeStep(8080)]);
  await change(client, "pool/web", [
    {
      verb: "pool.start",
      pool: "web",
      spec: {
        edge: "main",
        release: { id: "v1", path: FOLDER },
        ports: { from: 20_000, to: 20_020 },
        processes: { web, worker },
      },
    },
    { verb: "pool.switch", pool: "web" },
    { verb: "pool.follow", pool: "web" },
  ]);
  client.close();
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
