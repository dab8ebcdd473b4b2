/**
 * An update of one pool in place, or its removal, in a process of its own, which kills itself as it says a line, since the
 * rollout goes on while another process reads that line. Its messages go to standard output.
 *
 *   replace.ts replace|remove '<inputs as JSON>' '<the line as a regular expression>'
 */
import { writeSync } from "node:fs";
import { AgentClient } from "../../../src/agent/client/client";
import type { PoolInputs } from "../../../src/provider/resources/pool-inputs";
import { removePool } from "../../../src/provider/resources/pool-removal";
import { replaceInPlace } from "../../../src/provider/rollout/in-place";
import type { Context } from "../../../src/provider/server";
import { startStep } from "./nodes";

const [what, json = "{}", line = ""] = process.argv.slice(2);
const inputs = JSON.parse(json) as PoolInputs;
const lastLine = new RegExp(line);
const say = (text: string) => {
  writeSync(1, `${text}\n`);
  if (lastLine.test(text)) process.kill(process.pid, "SIGKILL");
};
const context: Context = {
  urn: "urn:pool",
  name: inputs.name,
  type: "sluice:index:Pool",
  preview: false,
  signal: new AbortController().signal,
  log: { debug: say, info: say, warn: say, error: say, progress: say },
  secrets: [],
};
const work =
  what === "remove"
    ? removePool(new AgentClient(inputs.agent.socket), inputs, context)
    : replaceInPlace(inputs, startStep(inputs), context);
work.then(
  () => process.exit(0),
  (error: Error) => {
    say(error.message);
    process.exit(1);
  },
);
