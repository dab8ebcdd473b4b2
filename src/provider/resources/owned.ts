import type { AgentClient } from "../../agent/client/client";
import type { Claim, Ownership } from "../../model/protocol/ownership";
import { type StepInput, targetOf } from "../../model/protocol/transaction";
import {
  changeClaim,
  createClaim,
  type Declared,
  ownerAfter,
  ownerInPreview,
  ownerSeen,
  removeClaim,
  stillOwns,
} from "../checks/ownership";
import { inTransaction } from "../rollout/transaction";
import type { Context, Outputs, Resource } from "../server";
import { type AgentRef, askAgent, withAgent } from "./agent-ref";

/** Parts of a resource whose targets on agents have an owner. */
interface OwnedParts<I, S> {
  id: (inputs: I) => string;
  /** Says in a preview what the update does; `before` is what is recorded, nothing on a create. */
  plan: (news: I, context: Context, before?: I) => Promise<void>;
  /** Brings the agents to what is declared; `before` is what is recorded, nothing on a create. */
  apply: (news: I, context: Context, claim: Claim, before?: S) => Promise<void>;
  /** The inputs, and reality as it then must be. */
  outputsOf: (inputs: I) => Outputs<S>;
}

/** Create and update of a resource: each claims its targets, by the token that a create draws and an update keeps. */
export function ownedChanges<I extends object, S extends Declared>({
  id,
  plan,
  apply,
  outputsOf,
}: OwnedParts<I, S>): Pick<Resource<I, S>, "create" | "update"> {
  return {
    async create(context, { inputs }) {
      if (context.preview) {
        await plan(inputs, context);
        return { outputs: outputsOf(inputs) };
      }
      const claim = createClaim();
      await apply(inputs, context, claim);
      return { id: id(inputs), outputs: { ...outputsOf(inputs), ...ownerAfter(context, claim) } };
    },

    async update(context, { olds, oldInputs, news }) {
      if (context.preview) {
        await plan(news, context, oldInputs);
        return { ...outputsOf(news), ...ownerInPreview(olds) };
      }
      const claim = changeClaim(olds);
      await apply(news, context, claim, olds);
      return { ...outputsOf(news), ...ownerAfter(context, claim) };
    },
  };
}

/** A resource's target as an agent has it. */
interface Found<L> {
  live: L;
  owner?: Ownership | undefined;
}

/** Read of a resource of one agent. */
export function ownedRead<I extends object, S extends Declared & { agent: AgentRef; live: object }>(
  kind: string,
  observe: (client: AgentClient, id: string) => Promise<Found<S["live"]> | undefined>,
): Resource<I, S>["read"] {
  return (context, { id, inputs, state }) => {
    const recorded = { id, inputs, outputs: state };
    return askAgent<typeof recorded | undefined>(state.agent, context, recorded, async (client) => {
      const found = await observe(client, id);
      if (found === undefined || !stillOwns(found, state, { what: `${kind} ${id}`, log: context.log }))
        return undefined;
      return { id, inputs, outputs: { ...state, live: found.live, ...ownerSeen(found, state) } };
    });
  };
}

/** Removes a target by one step, unless it is gone, or another resource has taken it over. */
export async function removeOwned(
  state: Declared & { agent: AgentRef },
  context: Context,
  {
    what,
    find,
    step,
  }: {
    /** Such as `edge main`. */
    what: string;
    find: (client: AgentClient) => Promise<{ owner?: Ownership | undefined } | undefined>;
    step: StepInput;
  },
): Promise<void> {
  await withAgent(state.agent, async (client) => {
    const found = await find(client);
    if (found === undefined || !stillOwns(found, state, { what, log: context.log })) return;
    await takeStep(client, step, context, removeClaim(state));
  });
}

/** Takes one step on an agent, in a transaction of its own. */
export function applyStep(agent: AgentRef, step: StepInput, context: Context, claim: Claim): Promise<void> {
  return withAgent(agent, (client) => takeStep(client, step, context, claim));
}

function takeStep(client: AgentClient, step: StepInput, context: Context, claim: Claim): Promise<void> {
  const work = async (run: (step: StepInput) => Promise<unknown>) => void (await run(step));
  return inTransaction(client, targetOf(step), context, work, { claim });
}
