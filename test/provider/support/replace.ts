/**
 * An update of one pool in place, in a process of its own that can be killed; what it says goes to standard output.
 *
 *   replace.ts '<inputs as JSON>'
 */
import { replaceInPlace } from "../../../provider/resources/in-place";
import type { PoolInputs } from "../../../provider/resources/pool-inputs";
import type { Context } from "../../../provider/server";
import { startStep } from "./nodes";

const inputs = JSON.parse(process.argv[2] ?? "{}") as PoolInputs;
const say = (text: string) => void process.stdout.write(`${text}\n`);
const context: Context = {
  urn: "urn:pool",
  name: inputs.name,
  type: "sluice:index:Pool",
  preview: false,
  signal: new AbortController().signal,
  log: { debug: say, info: say, warn: say, error: say, progress: say },
  secrets: [],
};
replaceInPlace(inputs, startStep(inputs), context, { create: false }).then(
  () => process.exit(0),
  (error: Error) => {
    say(error.message);
    process.exit(1);
  },
);
