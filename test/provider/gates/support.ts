import { type Gate, type GateInput, gate } from "../../../src/model/gate/gate";
import { bucketOf } from "../../../src/model/gate/histogram";
import type { SliAnswer, SliQuery } from "../../../src/model/gate/sli";
import type { Clock, GateContext } from "../../../src/provider/gates";

/** Time that passes as fast as it is waited for. */
class FakeClock implements Clock {
  time = 1_800_000_000_000;
  now = (): number => this.time;
  sleep = async (ms: number, signal: AbortSignal): Promise<void> => {
    signal.throwIfAborted();
    this.time += ms;
    await new Promise(setImmediate);
  };
}

export function gates(...inputs: GateInput[]): Gate[] {
  return inputs.map((input) => gate.parse(input));
}

/** Requests that all took the same time. */
export function answer(
  query: Pick<SliQuery, "from" | "to">,
  {
    requests = 1000,
    status5xx = 0,
    ms = 100,
    ...more
  }: { requests?: number; status5xx?: number; ms?: number } & Partial<SliAnswer> = {},
): SliAnswer {
  const latencies = requests === 0 ? [] : [[bucketOf(ms), requests] as const];
  return {
    from: query.from,
    to: query.to,
    coveredMs: query.to - query.from,
    lost: 0,
    counts: { requests, aborted: 0, status4xx: 0, status5xx, connect: 0, cut: 0, bytes: 0 },
    head: latencies,
    total: latencies,
    ...more,
  };
}

export interface GateTestContext extends GateContext {
  clock: FakeClock;
  messages: string[];
  queries: SliQuery[];
}

/** A change on one edge, whose meter answers as told; other questions to the agent are errors. */
export function gateContext(sli: (query: SliQuery) => SliAnswer, more: Partial<GateContext> = {}): GateTestContext {
  const messages: string[] = [];
  const queries: SliQuery[] = [];
  const agent = {
    sli: async (query: SliQuery) => {
      queries.push(query);
      return sli(query);
    },
    edge: async (): Promise<never> => {
      throw new Error("not asked for");
    },
    sample: (): never => {
      throw new Error("not asked for");
    },
  };
  return {
    title: "stage 10%",
    edges: [{ name: "main", agent }],
    candidate: { route: "shop", backend: "new" },
    stable: { route: "shop", backend: "old" },
    windowMs: 60_000,
    signal: new AbortController().signal,
    progress: (message) => messages.push(message),
    ...more,
    clock: new FakeClock(),
    messages,
    queries,
  };
}
