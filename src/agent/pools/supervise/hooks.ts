import { setTimeout as sleep } from "node:timers/promises";
import { formatMilliseconds } from "../../../model/types/duration";
import { codeOf, messageOf } from "../../../model/types/errors";
import { PROBE_SUFFIX, surroundingsOf } from "../health/probe-command";
import { fromLabels, type Labels, titleOf } from "../launch/labels";
import { exitText, type SupervisionContext } from "./supervised-process";

const KINDS = ["quiet", "drain", "stop"] as const;
export type HookKind = (typeof KINDS)[number];

/** Pause between two checks of a command, in milliseconds. */
const POLL_MS = 20;
/** Time that a command has to end after SIGTERM, in milliseconds. */
const END_MS = 1000;

/**
 * The commands of processes' ends. Each runs as a process of its own, so that the next agent goes on with it where this
 * one dies, and never in parallel with another one of the same process and kind.
 */
export class Hooks {
  constructor(private readonly host: Pick<SupervisionContext, "processes" | "events">) {}

  /**
   * Runs a command beside a process, or joins it where an earlier agent has started it. Its failure is told, not thrown.
   *
   * @param timeoutMs from its start; it is then killed
   * @param signal ends it early, without a word
   * @returns whether it has ended well
   */
  async run(id: string, kind: HookKind, timeoutMs: number, signal: AbortSignal): Promise<boolean> {
    const { processes, events } = this.host;
    const labels = fromLabels(processes.get(id)?.labels ?? {});
    if (labels === undefined) return false;
    const problem = await this.problem(id, kind, labels, timeoutMs, signal).catch(messageOf);
    if (problem === undefined) return true;
    if (!signal.aborted)
      events.emit(`the ${kind} command of ${titleOf(labels)} ${problem}`, { ...about(id, labels), kind });
    return false;
  }

  /** Ends and forgets the commands of a process. */
  async clear(id: string): Promise<void> {
    for (const kind of KINDS) await this.remove(hookId(id, kind));
  }

  /** Ends what an earlier agent has left beside processes that are no more, and health checks that nobody waits for. */
  async sweep(): Promise<void> {
    const { processes } = this.host;
    for (const { id, labels } of processes.list())
      if (labels.hookOf !== undefined && processes.get(labels.hookOf) === undefined) await this.remove(id);
    for (const { id, pid, startTime } of await processes.orphans())
      if (id.endsWith(PROBE_SUFFIX)) await processes.kill(pid, startTime);
  }

  private async problem(
    id: string,
    kind: HookKind,
    labels: Labels,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const { processes } = this.host;
    const hook = hookId(id, kind);
    if (processes.get(hook) === undefined) await this.launch(id, kind, labels);
    // Its own start counts, also where that was an earlier agent's.
    const leftMs = Date.parse(processes.get(hook)?.startedAt ?? "") + timeoutMs - Date.now();
    // A clock that was set back must not give it more time.
    const giveUpAt = performance.now() + Math.min(leftMs, timeoutMs);
    for (;;) {
      const record = processes.get(hook);
      if (record === undefined || signal.aborted) return "was given up";
      if (record.state === "exited") return record.exit?.code === 0 ? undefined : exitText(record);
      if (performance.now() >= giveUpAt) {
        await processes.stop(hook, { signal: "SIGTERM", graceMs: END_MS });
        return `did not end within ${formatMilliseconds(timeoutMs)} and was killed`;
      }
      await sleep(POLL_MS);
    }
  }

  private async launch(id: string, kind: HookKind, { commands, asUser }: Labels): Promise<void> {
    const { processes } = this.host;
    const beside = processes.get(id);
    const surroundings = beside?.state === "running" ? surroundingsOf(beside) : undefined;
    const argv = commands[kind];
    if (beside === undefined || surroundings === undefined || argv === undefined)
      throw new Error("was not run: the process has ended");
    await processes.launch(hookId(id, kind), {
      argv,
      wrap: asUser,
      cwd: beside.cwd,
      ...surroundings,
      labels: { hookOf: id, hook: kind },
    });
  }

  private async remove(hook: string): Promise<void> {
    const { processes } = this.host;
    if (processes.get(hook) === undefined) return;
    await processes.stop(hook, { signal: "SIGKILL", graceMs: END_MS });
    try {
      await processes.remove(hook);
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
    }
  }
}

function hookId(id: string, kind: HookKind): string {
  return `${id}@${kind}`;
}

function about(id: string, { pool, key, generation, release }: Labels): Record<string, unknown> {
  return { id, pool, key, generation, release };
}
