import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startTestAgent } from "../../support/agent";
import { sendRequests } from "../../support/requests";
import { change } from "../../support/transaction";
import { until } from "../../support/until";
import { promote, releaseFolder } from "../support/pool";
import { answers, existingApp, takingEdge } from "./existing-app";

/** Takes a port over from a HAProxy under load, in a network of its own, and prints what came of the requests. */
const PORT = 18_080;

const CONFIG = `
defaults
  mode http
  option idle-close-on-response
  timeout client 10s
  timeout server 10s
  timeout connect 1s
frontend http
  bind 127.0.0.1:${PORT}
  http-request return status 200 content-type text/plain string old hdr x-release old
`;

async function takeOver(t: { after(work: () => unknown): void }): Promise<unknown> {
  const old = await existingApp(t);
  const config = join(old.folder, "old.cfg");
  await writeFile(config, CONFIG);
  const command = ["haproxy", "-W", "-f", config];
  const master = await old.start(command, { PATH: `${process.env.PATH}:/usr/sbin` });
  await answers(PORT, "old");
  const { client, directory } = await startTestAgent(t);
  const step = takingEdge(PORT, [{ port: PORT, command, signal: "SIGUSR1" }]);
  const { takeover = [] } = await client.plan(step);
  await change(client, "edge/main", [step]);
  const kept = sendRequests(t, [PORT], { atOnce: 8, pauseMs: 2, keepAlive: true });
  const fresh = sendRequests(t, [PORT], { atOnce: 8, pauseMs: 2 });
  const enough = (release: string) =>
    until(`requests answered by ${release}`, () =>
      [kept, fresh].every((load) => (load.seen().answers[`${release} 200`] ?? 0) > 200),
    );
  await enough("old");
  await promote(client, {
    path: await releaseFolder(directory),
    ports: { from: PORT + 1, to: PORT + 4 },
    release: "v1",
  });
  await enough("v1");
  await until("the old HAProxy to have finished", async () => (await old.running()).length === 0);
  const loads = await Promise.all([kept.stop(), fresh.stop()]);
  const shownTakeover = (await client.edge("main"))?.live.takeover;
  return { master, takeover, shownTakeover, loads };
}

async function main(): Promise<void> {
  const work: (() => unknown)[] = [];
  try {
    process.stdout.write(`${JSON.stringify(await takeOver({ after: (each) => work.push(each) }))}\n`);
  } finally {
    for (const each of work) await each();
  }
}

void main();
