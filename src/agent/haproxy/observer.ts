import { setTimeout as sleep } from "node:timers/promises";
import type { EdgeSpec } from "../../model/edge/edge";
import { milliseconds } from "../../model/types/duration";
import { singleFlight } from "../support/single-flight";
import { renewedCertificates } from "./apply-plan";
import { certificatesOf } from "./config/certificates";
import { certificateDigests, structureOf } from "./config/config-file";
import { isCopied } from "./config/mirror";
import type { EdgeRecord } from "./config/record";
import { isScriptOf, isUntouched } from "./config/render";
import { splitsText } from "./config/routes";
import type { EdgeFiles, FilesOnDisk } from "./edge-files";
import { ErrorShares } from "./error-shares";
import { type EdgeObservation, observation } from "./observation";
import type { HaproxyOptions } from "./options";
import { type BackendTotals, backendTotals } from "./runtime/backend-totals";
import { lostProblem, lostSockets } from "./runtime/lost-sockets";
import { showProcesses } from "./runtime/master";
import { isRefusal } from "./runtime/runtime-api";
import { clients, snapshotWorkers, usageIn, type WorkerSet } from "./runtime/worker-set";

/** Time until a started or reloaded HAProxy must answer, in milliseconds. */
export const UP_DEADLINE_MS = 15_000;
export const UP_PAUSE_MS = 5;
/** How long the sockets of a HAProxy that has answered may refuse, in milliseconds: a reload takes less than half a second of it. */
const REFUSAL_MS = 3000;
/** HAProxy tells times in whole seconds. */
const CLOCK_SLACK_MS = 2000;

/** Looks at an edge's HAProxy; changes nothing. */
export class Observer {
  /** The current worker and old ones; undefined if HAProxy does not run. Calls at the same time share one look. */
  readonly workers: () => Promise<WorkerSet | undefined>;
  /** Observes HAProxy now. Calls at the same time share one observation, which began after them. */
  readonly observe: () => Promise<EdgeObservation>;
  /** Of the requests that were answered between calls of {@link totals}. */
  readonly errorShares = new ErrorShares();
  /** Process id of the HAProxy that has answered: its sockets were there. */
  private answered: number | undefined;

  /** @param id of HAProxy among the processes */
  constructor(
    private readonly id: string,
    private readonly files: EdgeFiles,
    private readonly options: Pick<HaproxyOptions, "name" | "processes">,
  ) {
    this.workers = singleFlight(() => this.observeWorkers());
    this.observe = singleFlight(() => this.observeAll());
  }

  /**
   * Counts a server's connections in all workers, old ones included, and tells whether one may still give it new
   * requests: an old worker does so for idle client connections that it had when it was replaced, until they expire.
   */
  async connections(address: string, port: number): Promise<{ connections: number; mayReceive: boolean }> {
    const [workers, record] = await Promise.all([this.workers(), this.files.record()]);
    if (workers === undefined) return { connections: 0, mayReceive: false };
    const now = usageIn(workers.current, address, port);
    const idleMs = Math.max(record?.oldIdleMs ?? 0, record === undefined ? 0 : idleOf(record.spec));
    const old = workers.old.map(({ snapshot, replacedForSeconds }) => {
      // It ended, or is about to: the next observation tells.
      if (snapshot === undefined) return { connections: 0, takes: true };
      const use = usageIn(snapshot, address, port);
      const mayHaveIdle = replacedForSeconds * 1000 <= idleMs + CLOCK_SLACK_MS && clients(snapshot) > 0;
      return { connections: use.connections, takes: use.takes && mayHaveIdle };
    });
    const all = [now, ...old];
    return {
      connections: all.reduce((sum, { connections: counted }) => sum + counted, 0),
      mayReceive: all.some(({ takes }) => takes),
    };
  }

  /**
   * Totals of the backends, as the current worker has them.
   *
   * @throws SocketsLost, also where only the master can't be reached
   */
  async totals(): Promise<Map<string, BackendTotals>> {
    const { master, worker } = this.files.sockets;
    await this.assertReachable(0);
    try {
      const [totals] = await Promise.all([backendTotals(worker), showProcesses(master, { retry: true })]);
      this.answered = this.pid();
      this.errorShares.saw(totals);
      return totals;
    } catch (error) {
      if (isRefusal(error)) await this.assertReachable(REFUSAL_MS);
      throw error;
    }
  }

  /** @throws SocketsLost where HAProxy's sockets are gone, or have refused for so long that no reload explains it */
  private async assertReachable(refusedMs: number): Promise<void> {
    const pid = this.pid();
    if (!this.runs() || pid === undefined) return;
    const lost = await lostSockets(this.files.sockets);
    const isLost = pid === this.answered ? lost.length > 0 || refusedMs >= REFUSAL_MS : refusedMs >= UP_DEADLINE_MS;
    if (isLost && this.runs()) throw lostProblem(this.options.name, pid, lost);
  }

  private pid(): number | undefined {
    return this.options.processes.get(this.id)?.pid;
  }

  /** Whether its HAProxy runs, as far as is known. */
  runs(): boolean {
    const state = this.options.processes.get(this.id)?.state;
    return state === "running" || state === "starting";
  }

  private async observeAll(): Promise<EdgeObservation> {
    const [workers, files, record] = await Promise.all([this.workers(), this.files.read(), this.files.record()]);
    const { disk } = files;
    const state = disk === undefined ? "missing" : isUntouched(disk) && hasParts(files, record) ? "ours" : "edited";
    const [digests, certificates] =
      record === undefined
        ? [{}, []]
        : await Promise.all([certificateDigests(record.spec), certificatesOf(record.spec, new Date())]);
    const renewed = renewedCertificates(digests, disk).length > 0;
    const structure = structureOf(disk);
    return {
      ...observation(workers, record ?? { placed: [], leaving: [] }, { state, structure, renewed }),
      certificates: certificates.flatMap(({ problem, refused }) =>
        problem === undefined ? [] : [{ problem, refused }],
      ),
    };
  }

  private async observeWorkers(): Promise<WorkerSet | undefined> {
    if (!this.runs()) return undefined;
    const since = performance.now();
    for (;;) {
      // The sockets refuse while HAProxy starts or its master re-executes itself; one that is killed cuts its answer off.
      let problem: unknown;
      const workers = await snapshotWorkers(this.files.sockets).catch((error: unknown) => {
        problem = error;
        return undefined;
      });
      if (workers !== undefined) this.answered = this.pid();
      if (workers !== undefined || !this.runs()) return workers;
      const waitedMs = performance.now() - since;
      if (problem === undefined) await this.assertReachable(waitedMs);
      else if (waitedMs > UP_DEADLINE_MS) throw problem;
      await sleep(UP_PAUSE_MS);
    }
  }
}

/** Whether the files that a config names are as they were applied. */
function hasParts({ splitsOnDisk, scriptOnDisk, disk }: FilesOnDisk, record: EdgeRecord | undefined): boolean {
  if (record === undefined) return true;
  const splits = splitsText(record.routes, record.backends);
  if (splits !== undefined && splitsOnDisk !== splits) return false;
  return !isCopied(record.routes) || (scriptOnDisk !== undefined && isScriptOf(disk, scriptOnDisk));
}

/** Longest time that a client connection without a request may wait in a worker. */
export function idleOf({ timeouts }: EdgeSpec): number {
  return Math.max(milliseconds(timeouts.keepAlive), milliseconds(timeouts.request));
}
