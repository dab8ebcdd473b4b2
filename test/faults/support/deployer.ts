/**
 * Does what `pulumi up` does for one pool, without the engine: a process of its own that promotes a release through the
 * provider's own code, and can be killed like one. SIGINT stands for Ctrl-C: the engine's Cancel aborts the signal of
 * the operation.
 *
 *   node deployer.cjs SOCKET '<pool.start as JSON>' ['<canary as JSON>']
 */
import { poolCanary } from "../../../src/model/pool/pool-share";
import type { PoolInputs } from "../../../src/provider/resources/pool-inputs";
import { promote } from "../../../src/provider/rollout/pool-rollout";
import type { Context } from "../../../src/provider/server";

const [socket = "", text = "{}", tried] = process.argv.slice(2);
const step = JSON.parse(text);
const canary = tried === undefined ? {} : { canary: poolCanary.parse(JSON.parse(tried)) };
const cancel = new AbortController();
process.on("SIGINT", () => cancel.abort(new Error("the update was cancelled")));

const silent = () => undefined;
const context: Context = {
  urn: `urn:pulumi:dev::faults::sluice:index:Pool::${step.pool}`,
  name: step.pool,
  type: "sluice:index:Pool",
  preview: false,
  signal: cancel.signal,
  log: { debug: silent, info: silent, warn: silent, error: silent, progress: silent },
  secrets: [],
};
const inputs = { agent: { directory: "/", socket }, name: step.pool, ...step.spec, ...canary } as unknown as PoolInputs;

promote(inputs, step, context).then(
  () => process.exit(0),
  (error: Error) => {
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  },
);
