import { createServer } from "node:net";
import { portsPerRelease } from "../../../model/pool/pool-ports";
import { type SpecWithoutSecrets, takenPorts } from "../../../model/pool/pool-state";
import { ApiError } from "../../api/api-error";
import type { Desired } from "../../state/desired";
import type { Labels } from "./labels";

/** A port that is not free, and who has it. */
interface Taken {
  port: number;
  by: string;
}

/**
 * Gives the ports of a pool's range that are free: not promised to any release, not held by a process that still drains,
 * and not in use by somebody else on the host.
 */
export class PortAllocator {
  private readonly taken: Map<number, string>;

  private constructor(
    private readonly pool: string,
    private readonly range: { from: number; to: number },
    taken: Taken[],
    private readonly free: number[],
  ) {
    this.taken = new Map(taken.map(({ port, by }) => [port, by]));
  }

  static async of(
    pool: string,
    { ports: range, processes }: Pick<SpecWithoutSecrets, "ports" | "processes">,
    beside: Pick<SpecWithoutSecrets, "processes"> | undefined,
    working: Desired,
    held: { port: number; labels: Labels }[],
  ): Promise<PortAllocator> {
    const promised = Object.entries(working.pools).flatMap(([name, state]) =>
      takenPorts(state).map(({ port, key, release }) => ({ port, by: `${key} of pool ${name} (release ${release})` })),
    );
    const draining = held.map(({ port, labels }) => ({
      port,
      by: `${labels.key} of pool ${labels.pool} (release ${labels.release})`,
    }));
    const known = new Map([...draining, ...promised].map((entry) => [entry.port, entry.by]));
    const needed = portsPerRelease(processes) + portsPerRelease(beside?.processes ?? {});
    const candidates = Array.from({ length: range.to - range.from + 1 }, (_, index) => range.from + index);
    const foreign: Taken[] = [];
    const free: number[] = [];
    for (const port of candidates) {
      if (free.length === needed) break;
      if (known.has(port)) continue;
      if (await isBindable(port)) free.push(port);
      else foreign.push({ port, by: "a process that is not Sluice's" });
    }
    const inside = [...known]
      .filter(([port]) => port >= range.from && port <= range.to)
      .map(([port, by]) => ({ port, by }));
    return new PortAllocator(pool, range, [...inside, ...foreign], free);
  }

  /** A free port, each only once. Throws when the range is exhausted, saying by whom. */
  next(): number {
    const port = this.free.shift();
    if (port !== undefined) return port;
    const { from, to } = this.range;
    const counts = new Map<string, number>();
    for (const by of this.taken.values()) counts.set(by, (counts.get(by) ?? 0) + 1);
    const users = [...counts].map(([by, count]) => (count === 1 ? by : `${count} by ${by}`)).join(", ");
    throw new ApiError(
      422,
      "ports-exhausted",
      `pool ${this.pool} needs one more port, but its range ${from}-${to} has none left (${this.taken.size} of ${to - from + 1} are taken: ${users}): widen the range, or wait until old releases have drained`,
    );
  }
}

/** Whether a process could listen on a port of the loopback address and of all addresses now. */
function isBindable(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "0.0.0.0", exclusive: true }, () => server.close(() => resolve(true)));
  });
}
