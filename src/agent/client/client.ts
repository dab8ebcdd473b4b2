import type { NoteInput } from "../../model/evidence/note";
import type { SliAnswer, SliQuery } from "../../model/gate/sli";
import type { EventQuery } from "../../model/protocol/event";
import type { OutputLine, OutputQuery } from "../../model/protocol/output";
import type { Declarer } from "../../model/protocol/ownership";
import type { DoctorAnswer, RecoveryAnswer } from "../../model/protocol/recovery";
import type { AgentEvent, OpenRequest, Step, StepInput } from "../../model/protocol/transaction";
import type {
  AgentStatus,
  BackendObservation,
  CompareAnswer,
  Compared,
  EdgeAnswer,
  EvidenceAnswer,
  EvidenceList,
  PlanAnswer,
  PoolObservation,
  Problem,
  RestartAnswer,
  RestartRequest,
  RouteAnswer,
  TransactionAnswer,
} from "../api/answers";
import type { MirrorAnswer } from "../mirror/mirror";
import type { SampledRequest } from "../mirror/reservoir";
import { AgentError, type CallOptions, Connection, toError } from "./connection";

function queryText(query: object): string {
  const parameters = Object.entries(query).flatMap(([key, value]): [string, string][] =>
    value === undefined ? [] : [[key, String(value)]],
  );
  return parameters.length === 0 ? "" : `?${new URLSearchParams(parameters)}`;
}

/** An agent on this host, by its socket. */
export class AgentClient {
  private readonly connection: Connection;

  constructor(readonly socket: string) {
    this.connection = new Connection(socket);
  }

  /** Everything that the agent knows. */
  status(options?: CallOptions): Promise<AgentStatus> {
    return this.connection.call("GET", "/v1/status", undefined, options);
  }

  /** Facts about the agent itself, also of one with another protocol. */
  async about(options?: CallOptions): Promise<AgentStatus["agent"]> {
    return (await this.connection.call<{ agent: AgentStatus["agent"] }>("GET", "/v1/about", undefined, options)).agent;
  }

  edge(name: string): Promise<EdgeAnswer | undefined> {
    return this.observation(`/v1/edges/${name}`);
  }

  pool(name: string): Promise<PoolObservation | undefined> {
    return this.observation(`/v1/pools/${name}`);
  }

  backend(edge: string, name: string): Promise<BackendObservation | undefined> {
    return this.observation(`/v1/backends/${edge}/${name}`);
  }

  route(name: string): Promise<RouteAnswer | undefined> {
    return this.observation(`/v1/routes/${name}`);
  }

  /** Counters of the copies of requests. */
  mirror(options?: CallOptions): Promise<MirrorAnswer> {
    return this.connection.call("GET", "/v1/mirror", undefined, options);
  }

  /**
   * The requests of a route's sample.
   *
   * @throws AgentError `not-found` where the route is not sampled
   */
  async *sample(route: string, signal?: AbortSignal): AsyncGenerator<SampledRequest> {
    const lines = this.connection.lines("GET", `/v1/routes/${route}/sample`, undefined, { signal });
    for await (const line of lines) yield line as unknown as SampledRequest;
  }

  private async observation<T>(path: string): Promise<T | undefined> {
    try {
      return await this.connection.call<T>("GET", path);
    } catch (error) {
      if (error instanceof AgentError && error.code === "not-found") return undefined;
      throw error;
    }
  }

  /**
   * Measurements of an edge's meter over a window.
   *
   * @throws AgentError `not-found` where there is no such edge, `no-meter` where it is not metered
   */
  sli(query: SliQuery, options?: CallOptions): Promise<SliAnswer> {
    return this.connection.call("GET", `/v1/sli${queryText(query)}`, undefined, options);
  }

  /**
   * Why a step can't be done on the agent's host as it is now.
   *
   * @param creator URN of the resource that would create the step's target
   * @param options.now whether it is to be done at once: then what it needs must be there, and run. @default false
   */
  async check(step: Step | StepInput, creator?: string, { now = false } = {}): Promise<Problem[]> {
    const body = { ...step, creator, now };
    return (await this.connection.call<{ problems: Problem[] }>("POST", "/v1/check", body)).problems;
  }

  /** Plans a step without doing it. */
  plan(step: Step | StepInput): Promise<PlanAnswer> {
    return this.connection.call("POST", "/v1/plan", step);
  }

  /**
   * Compares the committed state of a step's target with what the step sets; undefined from an agent that is too old to
   * tell.
   */
  async compare<T extends Compared>(step: Step | StepInput): Promise<CompareAnswer<T> | undefined> {
    try {
      return await this.connection.call<CompareAnswer<T>>("POST", "/v1/compare", step);
    } catch (error) {
      if (error instanceof AgentError && error.code === "unknown-route") return undefined;
      throw error;
    }
  }

  begin(request: OpenRequest): Promise<TransactionAnswer> {
    return this.connection.call("POST", "/v1/transactions", request);
  }

  transaction(id: string): Promise<TransactionAnswer> {
    return this.connection.call("GET", `/v1/transactions/${id}`);
  }

  renew(id: string): Promise<TransactionAnswer> {
    return this.connection.call("POST", `/v1/transactions/${id}/renew`, {});
  }

  commit(id: string): Promise<TransactionAnswer> {
    return this.connection.call("POST", `/v1/transactions/${id}/commit`, {}, { timeoutMs: 60_000 });
  }

  /**
   * Undoes a transaction; answers when that is done, or after `waitMs` (the agent's own patience where it is left out):
   * it is `undoing` then, and may be asked for again.
   */
  abort(id: string, reason: string, waitMs?: number): Promise<TransactionAnswer> {
    return this.connection.call("POST", `/v1/transactions/${id}/abort`, { reason, waitMs }, { timeoutMs: 60_000 });
  }

  /** Adds to a transaction's evidence what only its holder knows. */
  async notes(id: string, notes: readonly NoteInput[], options?: CallOptions): Promise<void> {
    await this.connection.call("POST", `/v1/transactions/${id}/notes`, { notes }, options);
  }

  /** The evidence of the newest transactions, newest first, and what of it can't be read. */
  evidenceList(limit: number): Promise<EvidenceList> {
    return this.connection.call("GET", `/v1/evidence?limit=${limit}`);
  }

  /** The evidence of the newest transactions that can be read, newest first. */
  async evidence(limit: number): Promise<EvidenceList["evidence"]> {
    return (await this.evidenceList(limit)).evidence;
  }

  /** Everything about one transaction, also one that runs; undefined if the agent has no evidence of it. */
  evidenceOf(id: string): Promise<EvidenceAnswer | undefined> {
    return this.observation(`/v1/evidence/${id}`);
  }

  /** Runs a step, telling what happens meanwhile. */
  async step(
    id: string,
    step: Step | StepInput,
    onEvent: (event: AgentEvent) => void,
    signal?: AbortSignal,
  ): Promise<Record<string, unknown>> {
    for await (const line of this.connection.lines("POST", `/v1/transactions/${id}/steps`, step, { signal })) {
      if (line.event !== undefined) onEvent(line.event as AgentEvent);
      else if (line.error !== undefined) throw toError(line);
      else return line.result as Record<string, unknown>;
    }
    throw new AgentError("failed", `the agent at ${this.socket} ended its answer to ${step.verb} without a result`);
  }

  /**
   * Restarts processes of a pool: all of them, or those that the request chooses. It resolves when they are up again, which
   * takes as long as they take to drain; an abort stops before the next one.
   *
   * @throws AgentError `not-found`, `unknown-process`, `held` (a promotion runs), `would-cut`, `not-up`
   */
  async restart(
    pool: string,
    request: RestartRequest = {},
    onEvent: (event: AgentEvent) => void = () => undefined,
    signal?: AbortSignal,
  ): Promise<RestartAnswer> {
    for await (const line of this.connection.lines("POST", `/v1/pools/${pool}/restart`, request, { signal })) {
      if (line.event !== undefined) onEvent(line.event as AgentEvent);
      else if (line.error !== undefined) throw toError(line);
      else return line.result as RestartAnswer;
    }
    throw new AgentError("failed", `the agent at ${this.socket} ended its answer without a result: did it stop?`);
  }

  /** Whether the agent has an artifact, by the digest of its archive. */
  async hasArtifact(digest: string): Promise<boolean> {
    return (await this.observation(`/v1/artifacts/${digest}`)) !== undefined;
  }

  /** Sends an archive (tar, gzipped or not), which the agent checks and places. */
  async sendArtifact(digest: string, archive: AsyncIterable<Buffer>, signal?: AbortSignal): Promise<void> {
    await this.connection.send(`/v1/artifacts/${digest}`, archive, { signal });
  }

  /** Waits until what a pool no longer wants has drained and stopped. */
  async settle(pool: string, signal?: AbortSignal): Promise<void> {
    await this.connection.call("POST", `/v1/pools/${pool}/settle`, {}, { timeoutMs: 0, signal });
  }

  /** Tells the agent that a resource declares it, or does so no more. */
  async declare(declarer: Declarer): Promise<void> {
    await this.connection.call("POST", "/v1/declarers", declarer);
  }

  /** Has the agent forget whatever belongs to a stack, as `project/stack`; answers what that was. */
  async disown(stack: string): Promise<{ released: string[] }> {
    return (await this.connection.call("POST", "/v1/disown", { stack })) as { released: string[] };
  }

  /** Has the agent read its options anew, of which it takes those that need no restart. */
  async reload(): Promise<void> {
    await this.connection.call("POST", "/v1/reload", {});
  }

  async shutdown(options: { restart: boolean }): Promise<void> {
    await this.connection.call("POST", "/v1/shutdown", options);
  }

  /** Events: recent ones, or the past that is asked for, then new ones until `signal` aborts. */
  async *events(signal?: AbortSignal, query: EventQuery = {}): AsyncGenerator<AgentEvent> {
    const path = `/v1/events${queryText(query)}`;
    for await (const line of this.connection.lines("GET", path, undefined, { signal }))
      yield line as unknown as AgentEvent;
  }

  /** How the agent's host is, in what the agent depends on. */
  doctor(): Promise<DoctorAnswer> {
    return this.connection.call("GET", "/v1/doctor");
  }

  /**
   * Whether a release in a folder of the agent's host could be started by what is deployed now.
   *
   * @throws AgentError `not-found` for a pool that is not there
   */
  checkRelease(request: { path: string; id?: string; pool?: string }): Promise<DoctorAnswer> {
    return this.connection.call("POST", "/v1/releases/check", request);
  }

  /** Lists leftovers that the agent can't supervise; with `force`, ends those that are provably its own. */
  recovery({ force }: { force: boolean }): Promise<RecoveryAnswer> {
    return force
      ? this.connection.call("POST", "/v1/recovery", {}, { timeoutMs: 60_000 })
      : this.connection.call("GET", "/v1/recovery");
  }

  /** A process's output, by its id: the past that is asked for, then what comes until `signal` aborts. */
  async *output(id: string, query: OutputQuery = {}, signal?: AbortSignal): AsyncGenerator<OutputLine> {
    const path = `/v1/processes/${id}/output${queryText(query)}`;
    for await (const line of this.connection.lines("GET", path, undefined, { signal }))
      yield line as unknown as OutputLine;
  }

  close(): void {
    this.connection.close();
  }
}
