import { setTimeout as sleep } from "node:timers/promises";
import { accountOf } from "./account";
import { comesUp } from "./coming-up";
import type { Departures } from "./departures";
import { titleOf } from "./labels";
import { launchSpec } from "./launch-spec";
import { messageOf, type PoolHost, type Slot, subjectOf, unlessAborted } from "./slot";
import { Stagger } from "./stagger";

/** Pause between two tries to give a process its traffic back, in milliseconds. */
const RETRY_MS = 1000;

/** Starts processes that should run and do not, one at a time each, and sees to it that they come up. */
export class Starter {
  private readonly stagger = new Stagger();

  constructor(
    private readonly host: PoolHost,
    private readonly parts: {
      departures: Departures;
      /** Whether a slot is still wanted. */
      isCurrent: (slot: Slot) => boolean;
      /** A process that nobody waits for did not start. */
      failed: (slot: Slot, why: string) => void;
      /** A process that nobody waits for is not healthy within its deadline. */
      late: (slot: Slot, why: string) => void;
      up: (slot: Slot) => void;
    },
  ) {}

  /**
   * Starts a process if it does not run, after what is being done for it already: a restart that is due must not meet a
   * promotion's start.
   *
   * @param strict whether the call waits until it is up, and fails where it does not come up; a process that waits for its
   *   next start, or has failed, is then started all the same
   * @param staggered whether it waits for others to come up, where many start that nobody waits for
   */
  ensure(slot: Slot, strict: boolean, signal: AbortSignal, staggered = false): Promise<void> {
    const before = slot.turn;
    const result = unlessAborted(signal, before).then(() => this.startMissing(slot, strict, signal, staggered));
    slot.turn = Promise.allSettled([before, result]);
    return result;
  }

  private async startMissing(slot: Slot, strict: boolean, signal: AbortSignal, staggered: boolean): Promise<void> {
    const { processes, lives } = this.host;
    const { id, template } = slot.instance;
    // An undo must not wait for what these wait for: it takes the traffic back first.
    await unlessAborted(signal, this.parts.departures.ended(id));
    if (processes.get(id)?.state === "running") {
      // Work in the background may have started it, which does not wait for it to come up.
      if (strict && slot.unproven) await this.proven(slot, signal);
      else if (slot.unproven && slot.proving === undefined) this.watch(slot);
      return;
    }
    if (!strict && (slot.timer !== undefined || lives.state(id) === "failed")) return;
    if (template.policy === "singleton") await unlessAborted(signal, this.otherSingletonsGone(slot));
    if (slot.instance.inPlace && !template.handoff) await unlessAborted(signal, this.predecessorsGone(slot));
    if (!staggered) return this.startNow(slot, strict, signal);
    await this.stagger.run(async () => {
      await this.startNow(slot, strict, signal);
      return { up: slot.proving };
    });
  }

  private async startNow(slot: Slot, strict: boolean, signal: AbortSignal): Promise<void> {
    const { processes, lives } = this.host;
    const { id, template } = slot.instance;
    if (processes.get(id)?.state === "exited") await processes.remove(id, { keepOutput: template.output.keep });
    signal.throwIfAborted();
    // It may have become unwanted while others were waited for; nobody would stop it then.
    if (!this.parts.isCurrent(slot)) return;
    clearTimeout(slot.timer);
    slot.timer = undefined;
    slot.starting = strict;
    slot.unproven = true;
    slot.proving = undefined;
    try {
      await this.launch(slot);
      if (strict) await this.proven(slot, signal);
    } catch (error) {
      if (strict) {
        const ended = processes.get(id)?.state !== "running";
        if (ended) lives.move(subjectOf(slot.instance), "gone", { reason: "crash", said: "did not come up" });
        throw error;
      }
      this.parts.failed(slot, messageOf(error));
      return;
    } finally {
      slot.starting = false;
    }
    if (!strict) this.watch(slot);
  }

  /** Sees to it that a process which nobody waits for comes up. */
  watch(slot: Slot): void {
    const { processes } = this.host;
    const { id } = slot.instance;
    const { pid } = processes.get(id) ?? {};
    this.proven(slot, new AbortController().signal).catch((error: unknown) => {
      const now = processes.get(id);
      // Another one may run by now that took its place.
      const runs = now?.state === "running" && now.pid === pid;
      if (!this.parts.isCurrent(slot) || !runs || this.parts.departures.has(id)) return;
      this.parts.late(slot, messageOf(error));
    });
  }

  /** Waits until a process is up; all who do so share one look at it. */
  private async proven(slot: Slot, signal: AbortSignal): Promise<void> {
    const proving = slot.proving ?? this.prove(slot);
    slot.proving = proving;
    const settled = () => {
      if (slot.proving === proving) slot.proving = undefined;
    };
    // Who gives up waiting leaves it to the others, or to nobody.
    proving.then(settled, settled);
    await unlessAborted(signal, proving);
    await this.backOnEdge(slot, signal);
  }

  private async prove(slot: Slot): Promise<void> {
    await comesUp(slot.instance, this.host);
    const { pid } = this.host.processes.get(slot.instance.id) ?? {};
    slot.unproven = false;
    this.host.lives.move(subjectOf(slot.instance), "up", { data: { pid } });
    this.parts.up(slot);
  }

  /** Gives a process that had restarted its traffic back. */
  async backOnEdge(slot: Slot, signal: AbortSignal): Promise<void> {
    const { lives, traffic, events } = this.host;
    const { id, pool } = slot.instance;
    if (lives.get(id)?.offEdge !== true) return;
    lives.note(id, { offEdge: false });
    while (this.parts.isCurrent(slot)) {
      try {
        await traffic.converge(pool);
        return;
      } catch (error) {
        events.emit(`${titleOf(subjectOf(slot.instance))} can't get traffic yet: ${messageOf(error)}`, { pool });
      }
      await sleep(RETRY_MS, undefined, { signal });
    }
  }

  private async otherSingletonsGone({ instance: { id, pool, process } }: Slot): Promise<void> {
    await this.parts.departures.allEnded(
      (other, labels) => other !== id && labels.pool === pool && labels.process === process,
    );
  }

  /** In place, what left its port must have ended before the next one can listen there. */
  private async predecessorsGone({ instance: { id, pool, port } }: Slot): Promise<void> {
    await this.parts.departures.allEnded(
      (other, labels) => other !== id && labels.pool === pool && labels.port === port,
    );
  }

  private async launch({ instance, reason }: Slot): Promise<void> {
    const { processes, edgeAddress, drainMs, secretEnv, lives } = this.host;
    const { id, pool } = instance;
    // A process may be up, or gone, before its launch is known here.
    lives.move(subjectOf(instance), "launch", { reason, note: { dueAt: undefined } });
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
