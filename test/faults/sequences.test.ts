import test, { type TestContext } from "node:test";
import fc from "fast-check";
import { seedOf } from "./support/random";
import { SequenceHost, sequences } from "./support/sequence";
import { World } from "./support/world";

/** A few in every run; `npm run soak -- sequences` sets more. */
const SEQUENCES = Number(process.env.SLUICE_SEQUENCES ?? 4);
/** Hosts on which they run, at the same time: most of the time is waiting. */
const HOSTS = Number(process.env.SLUICE_HOSTS ?? 2);
/** A guard lets an agent that dies again and again wait longer each time, so a host does not stay forever. */
const PER_HOST = 10;

const name = "random sequences of deploy, rollback, scale, crash, restart and death of the agent end as declared";
test(`${SEQUENCES} ${name}`, { concurrency: HOSTS }, async (t) => {
  const seed = seedOf() | 0;
  t.diagnostic(`seed ${seed} (SLUICE_SEED repeats it)`);
  const shares = Array.from({ length: HOSTS }, (_, host) => Math.ceil((SEQUENCES - host) / HOSTS));
  await Promise.all(
    shares.map((numRuns, host) =>
      t.test(`host ${host + 1}: ${numRuns} sequences`, async (t) => {
        const hosts = hostsOf(t);
        const property = fc.asyncProperty(sequences, async (operations) => {
          const host = await hosts.next();
          try {
            await host.run(operations);
          } catch (error) {
            await hosts.drop();
            throw error;
          }
        });
        // A smaller sequence rarely fails at the same moment, so none is looked for.
        await fc.assert(property, { seed: seed + host, numRuns, endOnFailure: true });
      }),
    ),
  );
});

/** Hosts, one after the other. */
function hostsOf(t: TestContext) {
  let host: SequenceHost | undefined;
  let used = 0;
  const drop = async () => {
    await host?.world.close();
    host = undefined;
  };
  return {
    drop,
    async next() {
      if (used++ % PER_HOST === 0) await drop();
      host ??= new SequenceHost(await World.start(t, { load: false }));
      return host;
    },
  };
}
