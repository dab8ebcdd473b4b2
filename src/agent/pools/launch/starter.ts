import { setTimeout as sleep } from "node:timers/promises";
import { messageOf } from "../../../model/types/errors";
import { StartLimiter } from "../supervise/start-limiter";
import {
  type SupervisedProcess,
  type SupervisionContext,
  subjectOf,
  unlessAborted,
} from "../supervise/supervised-process";
import type { Terminations } from "../supervise/terminations";
import { accountOf } from "./account";
import { titleOf } from "./labels";
import { launchSpec } from "./launch-spec";
import { becomesReady } from "./readiness";

/** Pause between two tries to give a process its traffic back, in milliseconds. */
const RETRY_MS = 1000;

/** Starts processes that should run and do not, one at a time each, and sees to it that they come up. */
export class Starter {
  private readonly startLimiter = new StartLimiter();

  constructor(
    private readonly host: SupervisionContext,
    private readonly parts: {
      terminations: Terminations;
      /** Whether a process is still wanted. */
      isCurrent: (supervised: SupervisedProcess) => boolean;
      /** A process that nobody waits for did not start. */
      failed: (supervised: SupervisedProcess, why: string) => void;
      /** A process that nobody waits for is not healthy within its deadline. */
      reportLate: (supervised: SupervisedProcess, why: string) => void;
      up: (supervised: SupervisedProcess) => void;
    },
  ) {}

  /**
   * Starts a process if it does not run, after what is being done for it already: a restart that is due must not meet a
   * promotion's start.
   *
   * @param strict whether the call waits until it is up, and fails where it does not come up; a process that waits for its
   *   next start, or has failed, is then started all the same
   * @param limited whether it waits for others to come up, where many start that nobody waits for
   */
  ensure(supervised: SupervisedProcess, strict: boolean, signal: AbortSignal, limited = false): Promise<void> {
    const before = supervised.turn;
    const result = unlessAborted(signal, before).then(() => this.startMissing(supervised, strict, signal, limited));
    supervised.turn = Promise.allSettled([before, result]);
    return result;
  }

  private async startMissing(
    supervised: SupervisedProcess,
    strict: boolean,
    signal: AbortSignal,
    limited: boolean,
  ): Promise<void> {
    const { processes, processStates } = this.host;
    const { id, template } = supervised.instance;
    // An undo must not wait for what these wait for: it takes the traffic back first.
    await unlessAborted(signal, this.parts.terminations.ended(id));
    if (processes.get(id)?.state === "running") {
      // Work in the background may have started it, which does not wait for it to come up.
      if (strict && supervised.notReady) await this.untilReady(supervised, signal);
      else if (supervised.notReady && supervised.readiness === undefined) this.watch(supervised);
      return;
    }
    if (!strict && (supervised.timer !== undefined || processStates.state(id) === "failed")) return;
    if (template.policy === "singleton") await unlessAborted(signal, this.otherSingletonsGone(supervised));
    if (supervised.instance.inPlace && !template.handoff)
      await unlessAborted(signal, this.predecessorsGone(supervised));
    if (!limited) return this.startNow(supervised, strict, signal);
    await this.startLimiter.run(async () => {
      await this.startNow(supervised, strict, signal);
      return { up: supervised.readiness };
    });
  }

  private async startNow(supervised: SupervisedProcess, strict: boolean, signal: AbortSignal): Promise<void> {
    const { processes, processStates } = this.host;
    const { id, template } = supervised.instance;
    if (processes.get(id)?.state === "exited") await processes.remove(id, { keepOutput: template.output.keep });
    signal.throwIfAborted();
    // It may have become unwanted while others were waited for; nobody would stop it then.
    if (!this.parts.isCurrent(supervised)) return;
    clearTimeout(supervised.timer);
    supervised.timer = undefined;
    supervised.starting = strict;
    supervised.notReady = true;
    supervised.readiness = undefined;
    try {
      await this.launch(supervised);
      if (strict) await this.untilReady(supervised, signal);
    } catch (error) {
      if (strict) {
        const ended = processes.get(id)?.state !== "running";
        if (ended)
          processStates.transition(subjectOf(supervised.instance), "gone", {
            reason: "crash",
            message: "did not come up",
          });
        throw error;
      }
      this.parts.failed(supervised, messageOf(error));
      return;
    } finally {
      supervised.starting = false;
    }
    if (!strict) this.watch(supervised);
  }

  /** Sees to it that a process which nobody waits for comes up. */
  watch(supervised: SupervisedProcess): void {
    const { processes } = this.host;
    const { id } = supervised.instance;
    const { pid } = processes.get(id) ?? {};
    this.untilReady(supervised, new AbortController().signal).catch((error: unknown) => {
      const now = processes.get(id);
      // Another one may run by now that took its place.
      const runs = now?.state === "running" && now.pid === pid;
      if (!this.parts.isCurrent(supervised) || !runs || this.parts.terminations.has(id)) return;
      this.parts.reportLate(supervised, messageOf(error));
    });
  }

  /** Waits until a process is up; all who wait share one check of it. */
  private async untilReady(supervised: SupervisedProcess, signal: AbortSignal): Promise<void> {
    const readiness = supervised.readiness ?? this.checkReadiness(supervised);
    supervised.readiness = readiness;
    const settled = () => {
      if (supervised.readiness === readiness) supervised.readiness = undefined;
    };
    // An abandoned wait goes on for the others, or for nobody.
    readiness.then(settled, settled);
    await unlessAborted(signal, readiness);
    await this.backOnEdge(supervised, signal);
  }

  private async checkReadiness(supervised: SupervisedProcess): Promise<void> {
    await becomesReady(supervised.instance, this.host);
    const { pid } = this.host.processes.get(supervised.instance.id) ?? {};
    supervised.notReady = false;
    this.host.processStates.transition(subjectOf(supervised.instance), "up", { data: { pid } });
    this.parts.up(supervised);
  }

  /** Gives a process that had restarted its traffic back. */
  async backOnEdge(supervised: SupervisedProcess, signal: AbortSignal): Promise<void> {
    const { processStates, traffic, events } = this.host;
    const { id, pool } = supervised.instance;
    if (processStates.get(id)?.offEdge !== true) return;
    processStates.remember(id, { offEdge: false });
    while (this.parts.isCurrent(supervised)) {
      try {
        await traffic.converge(pool);
        return;
      } catch (error) {
        events.emit(`${titleOf(subjectOf(supervised.instance))} can't get traffic yet: ${messageOf(error)}`, { pool });
      }
      await sleep(RETRY_MS, undefined, { signal });
    }
  }

  private async otherSingletonsGone({ instance: { id, pool, process } }: SupervisedProcess): Promise<void> {
    await this.parts.terminations.allEnded(
      (other, labels) => other !== id && labels.pool === pool && labels.process === process,
    );
  }

  /** In place, what left its port must have ended before the next one can listen there. */
  private async predecessorsGone({ instance: { id, pool, port } }: SupervisedProcess): Promise<void> {
    await this.parts.terminations.allEnded(
      (other, labels) => other !== id && labels.pool === pool && labels.port === port,
    );
  }

  private async launch({ instance, reason }: SupervisedProcess): Promise<void> {
    const { processes, edgeAddress, drainMs, secretEnv, processStates } = this.host;
    const { id, pool } = instance;
    // A process may be up, or gone, before its launch is known here.
    processStates.transition(subjectOf(instance), "launch", { reason, facts: { dueAt: undefined } });
    const { user, group } = instance.template;
    const spec = launchSpec(instance, {
      account: user === undefined ? undefined : await accountOf(user, group),
      edgeAddress: edgeAddress(pool),
      drainMs: drainMs(pool),
      secretEnv: secretEnv(instance),
      hostEnv: process.env,
    });
    await processes.launch(id, spec);
  }
}
