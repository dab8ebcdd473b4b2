/**
 * Ends what a demo has started when the demo can't: `node --import tsx watchdog.ts NAME '[demo, ...its parents]'`, each
 * with pid and start time. A demo that outlives one of its parents (npm, the shell that npm runs) is told to stop.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Identity, isAlive, signalProcess } from "../../src/agent/processes/identity";
import { endLeftovers } from "./leftovers";
import { foldersOf } from "./project";

const LOOK_MS = 200;

async function watch(name: string, [demo, ...parents]: readonly [Identity, ...Identity[]]): Promise<void> {
  let signalled = false;
  while (isAlive(demo)) {
    if (!signalled && !parents.every(isAlive)) signalled = signalProcess(demo, "SIGTERM");
    await sleep(LOOK_MS);
  }
  const place = foldersOf(name);
  const ended = await endLeftovers(place);
  console.log(`\nthe demo was killed: its ${ended} processes were ended; its output: ${place.output}`);
}

// The terminal may be gone, which is no reason to leave anything.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => undefined);
const [name = "", watched = ""] = process.argv.slice(2);
void watch(name, JSON.parse(watched)).then(() => process.exit());
