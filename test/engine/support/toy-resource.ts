import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { type Context, containsUnknown, diffValues, isUnknown, type Resource } from "../../../src/provider/server";

type Live = Record<string, string>;

/** A resource whose reality is a file: what servers it has and in which state they are. */
interface ToyInputs {
  /** Path of the file that is the reality. Replaces. */
  file: string;
  /** 0 to 256. */
  weight: number;
  servers: string[];
  token?: string;
  /** Values that only an update tells, as `made`. */
  makes?: Record<string, unknown>;
  /** How a create or an update goes: `slow` works until it is told to stop, and undoes; `fail` fails, naming its token. */
  behave?: "slow" | "fail";
  live?: { servers: Live };
}
interface ToyState extends Omit<ToyInputs, "live"> {
  live: { servers: Live };
  command?: string;
  made?: Record<string, unknown>;
}

const SLOWEST_MS = 60_000;
const STEP_MS = 20;
const UNDO_MS = 700;

function expected(inputs: ToyInputs): { servers: Live } {
  if (containsUnknown(inputs.servers)) return { servers: {} };
  return { servers: Object.fromEntries(inputs.servers.map((server) => [`${server}#0`, "ready"])) };
}

function write(inputs: ToyInputs): ToyState {
  const { makes: made = {}, token } = inputs;
  const state = { ...inputs, live: expected(inputs), command: `run --token=${token}`, made };
  writeFileSync(inputs.file, JSON.stringify({ weight: inputs.weight, servers: state.live.servers }));
  return state;
}

/** Works until it is told to stop, undoes, and fails; writes what happened to a file that tests can watch. */
async function workUntilTold(context: Context, inputs: ToyInputs): Promise<never> {
  const trace = (event: string) => appendFileSync(`${inputs.file}.trace`, `${event}\n`);
  trace("started");
  for (let step = 0; step * STEP_MS < SLOWEST_MS && !context.signal.aborted; step += 1) {
    context.log.progress(`step ${step}`);
    await sleep(STEP_MS);
  }
  trace(`told: ${context.signal.reason?.message}`);
  await sleep(UNDO_MS);
  trace("undone");
  throw context.signal.reason;
}

export const toy: Resource<ToyInputs, ToyState> = {
  type: "toy:index:Toy",

  async check(_context, { olds, news }) {
    const inputs = news as unknown as ToyInputs;
    const failures = [];
    if (!isUnknown(inputs.weight) && inputs.weight > 256)
      failures.push({ property: "weight", reason: `${inputs.weight} is above 256` });
    const nameless = containsUnknown(inputs.servers) ? -1 : inputs.servers.indexOf("");
    if (nameless >= 0) failures.push({ property: `servers[${nameless}]`, reason: "a server needs a name" });
    return { inputs: olds ? { ...inputs, live: expected(inputs) } : inputs, failures };
  },

  async diff(_context, { olds, oldInputs, news }) {
    const { file: oldFile, live: _, ...old } = oldInputs;
    const { file, live, ...next } = news;
    return {
      entries: [
        ...diffValues(oldFile, file, ["file"], { replace: true }),
        ...diffValues(old, next, []),
        ...diffValues(olds.weight, news.weight, ["weight"]),
        ...(live ? diffValues(olds.live, live, ["live"]) : []),
      ],
      deleteBeforeReplace: true,
    };
  },

  async create(context, { inputs }) {
    if (context.preview) return { outputs: { ...inputs, live: expected(inputs) } };
    if (inputs.behave === "slow") return workUntilTold(context, inputs);
    return { id: inputs.file, outputs: write(inputs) };
  },

  async read(_context, { id, inputs, state }) {
    if (!existsSync(id)) return undefined;
    const { weight, servers } = JSON.parse(readFileSync(id, "utf8"));
    return { id, inputs, outputs: { ...state, weight, live: { servers } } };
  },

  async update(context, { news }) {
    if (context.preview) return { ...news, live: expected(news) };
    if (news.behave === "fail") {
      context.log.warn(`about to fail with ${news.token}`);
      throw new Error(`web refused ${news.token}\n  line two\n  line three`);
    }
    if (news.behave === "slow") return workUntilTold(context, news);
    return write(news);
  },

  async delete(_context, { id }) {
    rmSync(id, { force: true });
  },
};
