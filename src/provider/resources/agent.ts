import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { About, CompareAnswer } from "../../agent/api/answers";
import {
  aboutAgent,
  installAgent,
  installedSocket,
  isInstalled,
  restartAgent,
  startAgent,
  stopAgent,
} from "../../agent/client/launch";
import { type AgentOptions, agentOptions, isLiveChange } from "../../model/protocol/agent";
import { type Claim, optionsProblem } from "../../model/protocol/ownership";
import { absolutePath } from "../../model/types/names";
import { allDifferences } from "../changes/committed";
import { moveFailures, parseInputs, withLive } from "../checks/inputs";
import { warnOfAgent } from "../checks/outage-warning";
import { changeClaim, createClaim, type Declared, ownerAfter, ownerInPreview, tokenOf } from "../checks/ownership";
import {
  agentBundle,
  type Checked,
  type Context,
  containsUnknown,
  diffValues,
  type Outputs,
  type Resource,
  UNKNOWN,
} from "../server";
import { type AgentRef, withAgent } from "./agent-ref";

interface AgentLive {
  agent: "running" | "stopped";
  guarded: boolean;
  /** Whether it can start again from what is on disk. */
  installed: boolean;
}

interface Inputs extends AgentOptions, Declared {
  directory: string;
  version: string;
  live?: AgentLive;
}

interface State extends Inputs {
  live: AgentLive;
  /** How other resources reach this agent. */
  connection: AgentRef;
}

const EXPECTED: AgentLive = { agent: "running", guarded: true, installed: true };

/** The daemon on this host: starts it, replaces it by another version without touching the apps, ends it. */
export const agentResource: Resource<Inputs, State> = {
  type: "sluice:index:Agent",

  async check({ urn }, { olds, news }): Promise<Checked<object>> {
    const socket = news.socket ?? (typeof news.directory === "string" ? join(news.directory, "agent.sock") : undefined);
    const { failures, values } = parseInputs(
      { ...news, socket },
      { own: { directory: absolutePath }, spec: agentOptions },
    );
    failures.push(...moveFailures(olds, values, ["directory"]));
    return { failures, inputs: { ...withLive(values, olds, EXPECTED, urn), version: agentBundle().version } };
  },

  async diff(context, request) {
    const about = await aboutAgent(request.olds.socket);
    if (about !== undefined) warnOfAgent(context, about);
    const entries = await allDifferences(context, request, {
      expected: () => EXPECTED,
      comparisons: (news) => [{ compare: () => compareOptions(request.olds, news) }],
    });
    const upgrade = request.olds.version !== request.news.version ? [{ path: "version", kind: "update" as const }] : [];
    return { entries: [...entries, ...upgrade] };
  },

  async create(context, { inputs }) {
    await assertOptions(inputs, inputs.socket, undefined, context);
    if (context.preview) return { outputs: inPreview(inputs) };
    const outputs = await declare(await ensure(inputs, inputs.socket, context), createClaim(), context);
    return { id: inputs.directory, outputs };
  },

  async read(context, { id, inputs, state }) {
    const about = await aboutAgent(state.socket ?? join(id, "agent.sock"));
    if (about === undefined) {
      if (state.directory === undefined) return undefined;
      context.log.warn(`the agent of ${id} does not run: its processes and traffic go on, but nothing watches them`);
    }
    return {
      id,
      inputs,
      outputs: { ...state, ...(await observed(id, about, state.version)), ...ownerIn(about, state) },
    };
  },

  async update(context, { olds, news }) {
    await assertOptions(news, olds.socket, tokenOf(olds), context);
    if (context.preview) return { ...inPreview(news), ...ownerInPreview(olds) };
    return declare(await ensure(news, olds.socket, context), changeClaim(olds), context);
  },

  targets({ directory }) {
    return [`${directory} agent`];
  },

  removal({ directory }) {
    return `stops the agent of ${directory}: nothing on its host is supervised any more`;
  },

  async disown({ urn }, { state }) {
    const { socket, declaredBy } = state;
    const about = await aboutAgent(socket);
    if (about !== undefined) await withdraw(about, urn, declaredBy?.token);
  },

  async delete({ urn, signal, log }, { state }) {
    const { socket, declaredBy } = state;
    const about = await aboutAgent(socket);
    if (about === undefined) return;
    const { [declaredBy?.token ?? ""]: _own, ...others } = about.declarers ?? {};
    const [left] = Object.values(others);
    if (left === undefined) await assertIdle(about);
    await withdraw(about, urn, declaredBy?.token);
    if (left === undefined) await stopAgent(about, signal);
    else log.info(`the agent of ${about.directory} goes on: ${left} declares it too`);
  },
};

/** The outputs as a preview shows them. */
function inPreview(inputs: Inputs): Outputs<State> {
  return { ...inputs, live: inputs.live ?? UNKNOWN, connection: connectionOf(inputs) };
}

/** Tells a running agent that a resource declares it no more. */
async function withdraw(about: About, urn: string, token: string | undefined): Promise<void> {
  if (token === undefined || about.declarers?.[token] === undefined) return;
  await withAgent(about, (client) => client.declare({ urn, token, gone: true }));
}

/** Tells a running agent that this resource declares it. */
async function declare(state: State, { token }: Claim, context: Context): Promise<State> {
  const { urn } = context;
  await withAgent(state.connection, async (client) => {
    if (token !== undefined) await client.declare({ urn, token, gone: false });
  });
  return { ...state, ...ownerAfter(context, { token }) };
}

/** The resource that an agent knows by the recorded token. */
function ownerIn(about: About | undefined, { declaredBy }: Partial<State>): Declared {
  const token = declaredBy?.token;
  return about === undefined || token === undefined
    ? {}
    : { declaredBy: { urn: about.declarers?.[token] ?? "none", token } };
}

/** An agent that still supervises something is not ended: nothing would restart it, or undo an unfinished update. */
async function assertIdle({ directory, socket }: About): Promise<void> {
  const { edges, pools } = await withAgent({ directory, socket }, (client) => client.status());
  const left = [
    ...Object.keys(edges).map((edge) => `edge ${edge}`),
    ...Object.keys(pools).map((pool) => `pool ${pool}`),
  ];
  if (left.length > 0)
    throw new Error(
      `the agent of ${directory} still has ${left.join(", ")}, which this stack does not know: run pulumi up, which takes over what an interrupted update began, and destroy it then; or destroy the other stack that declares them`,
    );
}

async function compareOptions({ socket }: State, wanted: Inputs): Promise<CompareAnswer> {
  const about = await aboutAgent(socket);
  return { committed: about?.options, wanted: optionsOf(wanted) };
}

/** Throws if a running agent has other options, and another stack owns them. */
async function assertOptions(
  wanted: Inputs,
  oldSocket: string,
  token: string | undefined,
  { urn }: Context,
): Promise<void> {
  if (containsUnknown(wanted)) return;
  const about = await runningAgent(wanted, oldSocket);
  if (about === undefined || about.directory !== wanted.directory) return;
  const names = diffValues(about.options, optionsOf(wanted), []).map(({ path }) => path);
  const problem = optionsProblem(about.directory, { declarers: about.declarers ?? {}, names }, { urn, token });
  if (problem !== undefined) throw new Error(problem);
}

/** The agent that runs, by the socket that it had, by the one that it shall have, or by the one in its state folder. */
async function runningAgent({ directory, socket }: Inputs, oldSocket: string): Promise<About | undefined> {
  const found = (await aboutAgent(oldSocket)) ?? (await aboutAgent(socket));
  if (found !== undefined) return found;
  const installed = await installedSocket(directory);
  return installed === undefined ? undefined : aboutAgent(installed);
}

function optionsOf(inputs: Inputs): AgentOptions {
  const { directory: _directory, version: _version, live: _live, declaredBy: _by, ...options } = inputs;
  return options;
}

/** Brings the agent to its declared version and options, wherever it is now. */
async function ensure(wanted: Inputs, oldSocket: string, { signal, log }: Context): Promise<State> {
  const { directory, version } = wanted;
  const options = optionsOf(wanted);
  const before = await runningAgent(wanted, oldSocket);
  if (before !== undefined && before.directory !== directory)
    throw new Error(
      `${before.socket} belongs to the agent of ${before.directory} (process ${before.pid}), not of ${directory}: use another socket`,
    );
  await installAgent(directory, options, agentBundle());
  if (before !== undefined && isAsWanted(before, wanted.version, options))
    return { ...wanted, ...(await observed(directory, before)), connection: connectionOf(wanted) };
  if (before?.guarded && before.version === version && isLiveChange(before.options, options)) {
    await withAgent(before, (client) => client.reload());
    return { ...wanted, ...(await observed(directory, before)), connection: connectionOf(wanted) };
  }
  log.progress(
    before === undefined ? "starting the agent" : `agent ${before.version} -> ${version}, processes and traffic go on`,
  );
  const about =
    before === undefined
      ? await startAgent(directory, wanted.socket, signal)
      : await restartAgent(directory, wanted.socket, before, signal);
  if (about.version !== version)
    throw new Error(
      `the agent of ${directory} answers with version ${about.version}, not ${version}: is another one started there?`,
    );
  return { ...wanted, ...(await observed(directory, about, version)), connection: connectionOf(wanted) };
}

/** Whether a running agent is as wanted already, such as one that another stack started: then it is left alone. */
function isAsWanted(about: About, version: string, options: AgentOptions): boolean {
  return about.guarded && about.version === version && isDeepStrictEqual(about.options, options);
}

async function observed(
  directory: string,
  about: About | undefined,
  version = "",
): Promise<Pick<State, "version" | "live">> {
  return {
    version: about?.version ?? version,
    live: {
      agent: about === undefined ? "stopped" : "running",
      guarded: about?.guarded ?? false,
      installed: await isInstalled(directory),
    },
  };
}

function connectionOf({ directory, socket }: Inputs): AgentRef {
  return { directory, socket };
}
