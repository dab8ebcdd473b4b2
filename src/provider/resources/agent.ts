import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { About, CompareAnswer } from "../../agent/api/answers";
import { aboutAgent, installAgent, restartAgent, startAgent, stopAgent } from "../../agent/client/launch";
import { type AgentOptions, agentOptions, isLiveChange } from "../../model/protocol/agent";
import type { Claim } from "../../model/protocol/ownership";
import { absolutePath } from "../../model/types/names";
import { committedDifferences } from "../changes/committed";
import { differences, moveFailures, parseInputs, withLive } from "../checks/inputs";
import { warnOfAgent } from "../checks/outage-warning";
import { changeClaim, createClaim, type Declared, ownerAfter, ownerInPreview } from "../checks/ownership";
import { agentBundle, type Checked, type Context, type DiffRequest, type Properties, type Resource } from "../server";
import { type AgentRef, withAgent } from "./agent-ref";

interface Inputs extends AgentOptions {
  directory: string;
  version: string;
  live: { agent: "running" | "stopped"; guarded: boolean };
}

interface State extends Inputs, Declared {
  /** How other resources reach this agent. */
  connection: AgentRef;
}

const EXPECTED: Inputs["live"] = { agent: "running", guarded: true };

/** The daemon on this host: starts it, replaces it by another version without touching the apps, ends it. */
export const agentResource: Resource = {
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

  async diff(context, request: DiffRequest<Properties, Properties>) {
    const about = await aboutAgent((request.olds as unknown as State).socket);
    if (about !== undefined) warnOfAgent(context, about);
    const declared = differences(request, { expected: () => EXPECTED });
    const newer = await committedDifferences(context, request, declared, (news) => [
      { compare: () => compareOptions(request.olds as unknown as State, news as unknown as Inputs) },
    ]);
    const entries = [...declared, ...newer];
    const upgrade = request.olds.version !== request.news.version ? [{ path: "version", kind: "update" as const }] : [];
    return { entries: [...entries, ...upgrade] };
  },

  async create(context, { inputs }) {
    const wanted = inputs as unknown as Inputs;
    if (context.preview) return { outputs: { ...inputs, connection: connectionOf(wanted) } };
    const outputs = await declare(await ensure(wanted, wanted.socket, context), createClaim(), context);
    return { id: wanted.directory, outputs };
  },

  async read(context, { id, inputs, state }) {
    const known = state as unknown as Partial<State>;
    const about = await aboutAgent(known.socket ?? join(id, "agent.sock"));
    if (about === undefined) {
      if (known.directory === undefined) return undefined;
      context.log.warn(`the agent of ${id} does not run: its processes and traffic go on, but nothing watches them`);
    }
    return { id, inputs, outputs: { ...state, ...observed(about, known.version), ...ownerIn(about, known) } };
  },

  async update(context, { olds, news }) {
    const wanted = news as unknown as Inputs;
    if (context.preview) return { ...news, connection: connectionOf(wanted), ...ownerInPreview(olds) };
    return declare(await ensure(wanted, (olds as unknown as State).socket, context), changeClaim(olds), context);
  },

  targets(properties) {
    const { directory } = properties as unknown as Inputs;
    return [`${directory} agent`];
  },

  removal(state) {
    return `stops the agent of ${(state as unknown as State).directory}: nothing on its host is looked after any more`;
  },

  async disown({ urn }, { state }) {
    const { socket, declaredBy } = state as unknown as State;
    const about = await aboutAgent(socket);
    if (about !== undefined) await withdraw(about, urn, declaredBy?.token);
  },

  async delete({ urn, signal, log }, { state }) {
    const { socket, declaredBy } = state as unknown as State;
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

/** Tells a running agent that a resource declares it no more. */
async function withdraw(about: About, urn: string, token: string | undefined): Promise<void> {
  if (token === undefined || about.declarers?.[token] === undefined) return;
  await withAgent(about, (client) => client.declare({ urn, token, gone: true }));
}

/** Tells a running agent that this resource declares it. */
async function declare(state: State, { token }: Claim, context: Context): Promise<Properties> {
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

/** An agent that still has something to look after is not ended: nobody would restart it, or undo what an update leaves. */
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

function optionsOf(inputs: Inputs & Declared): AgentOptions {
  const { directory: _directory, version: _version, live: _live, declaredBy: _by, ...options } = inputs;
  return options;
}

/** Brings the agent to its declared version and options, wherever it is now. */
async function ensure(wanted: Inputs, oldSocket: string, { signal, log }: Context): Promise<State> {
  const { directory, version } = wanted;
  const options = optionsOf(wanted);
  const before = (await aboutAgent(oldSocket)) ?? (await aboutAgent(wanted.socket));
  if (before !== undefined && before.directory !== directory)
    throw new Error(
      `${before.socket} belongs to the agent of ${before.directory} (process ${before.pid}), not of ${directory}: use another socket`,
    );
  await installAgent(directory, options, agentBundle());
  if (before !== undefined && isAsWanted(before, wanted.version, options))
    return { ...wanted, ...observed(before), connection: connectionOf(wanted) };
  if (before?.guarded && before.version === version && isLiveChange(before.options, options)) {
    await withAgent(before, (client) => client.reload());
    return { ...wanted, ...observed(before), connection: connectionOf(wanted) };
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
  return { ...wanted, ...observed(about, version), connection: connectionOf(wanted) };
}

/** Whether an agent that runs is what is wanted already, such as that of another stack on its host: then it is left alone. */
function isAsWanted(about: About, version: string, options: AgentOptions): boolean {
  return about.guarded && about.version === version && isDeepStrictEqual(about.options, options);
}

function observed(about: About | undefined, version = ""): Pick<State, "version" | "live"> {
  return {
    version: about?.version ?? version,
    live: { agent: about === undefined ? "stopped" : "running", guarded: about?.guarded ?? false },
  };
}

function connectionOf({ directory, socket }: Inputs): AgentRef {
  return { directory, socket };
}
