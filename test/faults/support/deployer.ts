/**
 * A process of its own that promotes a release, and can be killed like the engine. SIGINT stands for Ctrl-C: the engine's
 * Cancel aborts the signal of the operation.
 *
 *   node deployer.cjs SOCKET '<pool.start as JSON>' ['<canary as JSON>']
 */
import { poolCanary } from "../../../src/model/pool/pool-share";
import { promoteBy } from "./promotion";

const [socket = "", text = "{}", tried] = process.argv.slice(2);
const cancel = new AbortController();
process.on("SIGINT", () => cancel.abort(new Error("the update was cancelled")));
const given = tried === undefined ? {} : { canary: poolCanary.parse(JSON.parse(tried)) };

promoteBy(socket, JSON.parse(text), { ...given, signal: cancel.signal }).then(
  () => process.exit(0),
  (error: Error) => {
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  },
);
