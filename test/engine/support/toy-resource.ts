import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { containsUnknown, diffValues, type Resource } from "../../../provider/server";

type Live = Record<string, string>;

/** A resource whose reality is a file: what servers it has and in which state they are. */
interface ToyInputs {
  /** Path of the file that is the reality. Replaces. */
  file: string;
  /** 0 to 256. */
  weight: number;
  servers: string[];
  token?: string;
  /** How an update goes: `slow` works until it is told to stop, and undoes; `fail` fails, naming its token. */
  behave?: "slow" | "fail";
  live?: { servers: Live };
}
interface ToyState extends Omit<ToyInputs, "live"> {
  live: { servers: Live };
  command?: string;
}

const SLOWEST_MS = 60_000;
const UNDO_MS = 700;

const expected = (inputs: ToyInputs): { servers: Live } => ({
  servers: containsUnknown(inputs.servers)
    ? {}
    : Object.fromEntries(inputs.servers.map((server) => [`${server}#0`, "ready"])),
});

const write = (inputs: ToyInputs): ToyState => {
  const state = { ...inputs, live: expected(inputs), command: `run --token=${inputs.token}` };
  writeFileSync(inputs.file, JSON.stringify({ weight: inputs.weight, servers: state.live.servers }));
  return state;
};

export const toy: Resource<ToyInputs, ToyState> = {
  type: "toy:index:Toy",

  async check(_context, { olds, news }) {
    const failures = [];
    const weight = news.weight;
    if (typeof weight === "number" && weight > 256) {
      failures.push({ property: "weight", reason: `${weight} is above 256` });
    }
    if (news.servers && Array.isArray(news.servers) && news.servers.includes("")) {
      failures.push({ property: `servers[${news.servers.indexOf("")}]`, reason: "a server needs a name" });
    }
    const inputs = news as unknown as ToyInputs;
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
    if (news.behave !== "slow") return write(news);
    const trace = (event: string) => appendFileSync(`${news.file}.trace`, `${event}\n`);
    trace("started");
    for (let step = 0; step * 20 < SLOWEST_MS && !context.signal.aborted; step += 1) {
      context.log.progress(`step ${step}`);
      await sleep(20);
    }
    trace(`told: ${context.signal.reason?.message}`);
    await sleep(UNDO_MS);
    trace("undone");
    throw context.signal.reason;
  },

  async delete(_context, { id }) {
    rmSync(id, { force: true });
  },
};
