import type { PlanAnswer } from "../../agent/api/answers";
import { AgentClient } from "../../agent/client/client";
import { UnreachableError } from "../../agent/client/connection";
import type { Gate } from "../../model/gate/gate";
import { type InPlaceWatch, restoreMs, watchOfRollback } from "../../model/pool/in-place";
import type { Claim } from "../../model/protocol/ownership";
import type { StepInput, Target } from "../../model/protocol/transaction";
import type { Duration } from "../../model/types/duration";
import { formatMilliseconds, milliseconds } from "../../model/types/duration";
import { waitFor } from "../../support/waiting";
import type { SendNote } from "../evidence/note-sender";
import { watchAndRecord } from "../evidence/recorded-gates";
import { assertServersAnswer, type GateContext } from "../gates";
import type { PoolInputs, Serves } from "../resources/pool-inputs";
import type { Context } from "../server";
import { assertAccepted } from "./all-agents";
import { placeArtifact } from "./artifact";
import { inTransactions, type OpenPart, type Part } from "./transaction";

/** Lease on the host, longer than the edges': when an update dies, traffic leaves before the processes are replaced. */
const HOST_LEASE_MS = 8000;
/** Time for a start after the death of an update, until edges lead traffic to a host again, in milliseconds. */
const START_MS = 10_000;
/** Time for which edges try to get good answers where the process has no health check of its own. */
const DEFAULT_ENABLE: Duration = "1 minute";

export type StartStep = StepInput & { verb: "pool.start" };

interface InPlacePart extends Part {
  target: Target;
  /** The edge that leads to the host; nothing for the host itself. */
  edge?: string;
}

/**
 * Replaces a pool's release in its place, in one transaction over the host and all edges that lead to it: the edges drain its
 * server, the old release stops and the new one starts and becomes healthy, the edges lead traffic there again and see good
 * answers, gates watch it through a window, and the commit makes it the current release. A failure at any point, or the death of
 * this process, puts the release before it back. What needs no restart is changed without touching the traffic.
 */
export async function replaceInPlace(
  inputs: PoolInputs,
  start: StartStep,
  context: Context,
  claim?: Claim,
): Promise<void> {
  const { agent, name, serves, watch } = inputs;
  if (serves === undefined || watch === undefined)
    throw new Error(`pool ${name} does not declare the edges that send it requests`);
  const host = new AgentClient(agent.socket);
  const edges = serves.edges.map(({ agent: { socket }, edge }) => ({ client: new AgentClient(socket), edge }));
  try {
    const [plan, before] = await Promise.all([host.plan(start), host.pool(name)]);
    const own: InPlacePart = { client: host, target: `pool/${name}`, claim };
    if (plan.how !== "restart") {
      await inTransactions([own], context, ([part]) => (part as OpenPart).run(start).then(() => undefined));
      return;
    }
    const edgeParts = edges.map(
      ({ client, edge }): InPlacePart => ({
        client,
        edge,
        target: `backend/${edge}/${serves.backend}`,
        temporary: true,
      }),
    );
    const replacement = new Replacement(
      inputs,
      { serves, watch: watchNow(inputs, watch, plan, context) },
      start,
      context,
      before === undefined,
    );
    await replacement.run([{ ...own, leaseMs: HOST_LEASE_MS }, ...edgeParts]);
  } finally {
    for (const client of [host, ...edges.map((edge) => edge.client)]) client.close();
  }
}

/**
 * Whether an update takes a pool back to a release that has served before, which was judged then: whoever goes back must not wait
 * for a window while the release that is to go serves.
 */
export function goesBack({ change }: Pick<PoolInputs, "change">, plan: PlanAnswer | undefined): boolean {
  return change.kind === "rollback" && plan?.served === true;
}

/** The declared watch, or what remains of it on a way back. */
function watchNow(inputs: PoolInputs, watch: InPlaceWatch, plan: PlanAnswer, { log }: Context): InPlaceWatch {
  if (!goesBack(inputs, plan)) return watch;
  const { name, release } = inputs;
  log.info(
    `pool ${name} goes back to ${release.id}, which has served here before: once healthy, it is not watched any further`,
  );
  return watchOfRollback(watch);
}

/** Pause between two checks whether a host is back, in milliseconds. */
const BACK_POLL_MS = 250;

/** Time that a host needs, once no edge uses it any more, to put back what ran: its longer lease, the stop, and a start. */
function holdOf({ processes }: PoolInputs): Duration {
  const stops = Object.values(processes).map(({ gracefulStop }) => milliseconds(gracefulStop));
  return `${Math.ceil((HOST_LEASE_MS + Math.max(...stops) + START_MS) / 1000)} seconds`;
}

class Replacement {
  /** Whether traffic may have been led away from the host. */
  private touched = false;

  constructor(
    private readonly inputs: PoolInputs,
    private readonly declared: { serves: Serves; watch: InPlaceWatch },
    private readonly start: StartStep,
    private readonly context: Context,
    /** Whether nothing runs yet that gates would have to protect. */
    private readonly isFirst: boolean,
  ) {}

  run(parts: InPlacePart[]): Promise<void> {
    return inTransactions(parts, this.context, (open, signal, sendNote) => this.replace(open, signal, sendNote), {
      undoDeadlineMs: restoreMs(this.inputs),
      beforeUndo: async ([, ...edges]) => {
        if (this.touched) await this.drain(edges);
      },
      restored: async () => {
        if (this.touched) await this.untilBack((parts[0] as InPlacePart).client);
      },
    });
  }

  private async replace(
    [host, ...edges]: OpenPart<InPlacePart>[],
    signal: AbortSignal,
    sendNote: SendNote,
  ): Promise<void> {
    const { release, name } = this.inputs;
    const { before, gates, window } = this.declared.watch;
    await assertAccepted(edges, (part) => this.drainStep(part));
    if (!this.isFirst) await Promise.all([this.assertMetered(edges, gates), assertServersAnswer(gates, signal)]);
    await this.watch(
      { gates: before, window: "0 seconds", title: `before ${release.id}`, judgesPast: true },
      edges,
      signal,
      sendNote,
    );
    // Before the traffic leaves, so that the host is without it no longer than it must be.
    await placeArtifact((host as InPlacePart).client, this.inputs, { log: this.context.log, signal });
    await assertAccepted([host as InPlacePart], () => this.start);
    this.touched = true;
    await this.drain(edges);
    await (host as OpenPart).run(this.start);
    await Promise.all(edges.map(({ run, edge }) => run(this.enableStep(edge))));
    this.context.log.progress(`release ${release.id} of ${name} takes requests`);
    // A first release has nothing to go back to, and no traffic yet.
    if (this.isFirst) return;
    const title = `release ${release.id}`;
    sendNote({ kind: "stage", at: Date.now(), stage: title, windowMs: milliseconds(window) });
    await this.watch({ gates, window, title }, edges, signal, sendNote);
  }

  /** Waits until what ran before runs again, so that the edges lead traffic there no sooner; but not for ever. */
  private async untilBack(host: AgentClient): Promise<void> {
    const { name } = this.inputs;
    const { log } = this.context;
    let why = "";
    const isBack = async () => {
      try {
        const pool = await host.pool(name);
        const states = Object.entries(pool?.live.processes ?? {});
        const waiting = states.filter(([, state]) => state !== "running");
        if (waiting.length === 0) return true;
        why = waiting.map(([key, state]) => `${key} is ${state}`).join(", ");
      } catch (error) {
        if (!(error instanceof UnreachableError)) throw error;
        why = error.message;
      }
      log.progress(`waiting for the previous release: ${why}`);
      return false;
    };
    if (await waitFor(isBack, { everyMs: BACK_POLL_MS, deadlineMs: restoreMs(this.inputs) })) return;
    log.warn(`pool ${name} is put back, but ${why}: the edges lead traffic there as soon as it answers their checks`);
  }

  private async drain(edges: OpenPart<InPlacePart>[]): Promise<void> {
    await Promise.all(edges.map((part) => part.run(this.drainStep(part))));
  }

  private drainStep({ edge = "" }: Pick<InPlacePart, "edge">): StepInput {
    const { backend, server } = this.declared.serves;
    return {
      verb: "server.drain",
      edge,
      backend,
      server,
      deadline: this.inputs.drainDeadline,
      hold: holdOf(this.inputs),
    };
  }

  private enableStep(edge = ""): StepInput {
    const { backend, server, probe } = this.declared.serves;
    const { processes } = this.inputs;
    const health = Object.values(processes).find(({ policy }) => policy === "proxied")?.health;
    return { verb: "server.enable", edge, backend, server, deadline: health?.deadline ?? DEFAULT_ENABLE, probe };
  }

  /** A gate whose meter is off would be found out once traffic has moved; that is told before. */
  private async assertMetered(edges: OpenPart<InPlacePart>[], gates: readonly Gate[]): Promise<void> {
    if (!gates.some((gate) => gate.kind === "sli" && gate.source !== "prometheus")) return;
    const now = Date.now();
    await Promise.all(edges.map(({ client, edge = "" }) => client.sli({ edge, from: now - 1, to: now })));
  }

  private async watch(
    {
      gates,
      window,
      title,
      judgesPast,
    }: { gates: readonly Gate[]; window: Duration; title: string; judgesPast?: boolean },
    edges: OpenPart<InPlacePart>[],
    signal: AbortSignal,
    sendNote: SendNote,
  ): Promise<void> {
    const windowMs = milliseconds(window);
    if (gates.length === 0 && windowMs === 0) return;
    const { backend, server } = this.declared.serves;
    const { log } = this.context;
    const context: GateContext = {
      title,
      edges: edges.map(({ client, edge = "" }) => ({ name: edge, agent: client })),
      candidate: { backend, server },
      windowMs,
      judgesPast,
      signal,
      progress: (message) => log.progress(message),
    };
    try {
      await watchAndRecord(gates, context, { stage: title, sendNote });
    } catch (error) {
      signal.throwIfAborted();
      const when = windowMs === 0 ? title : `${title} in its window of ${formatMilliseconds(windowMs)}`;
      throw new Error(`${when}: ${(error as Error).message}`, { cause: error });
    }
  }
}
