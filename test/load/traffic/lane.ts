import { Agent } from "node:http";
import type { Socket } from "node:net";
import { setImmediate } from "node:timers/promises";

/**
 * Shortest time for which a target keeps an idle connection, in milliseconds, with room for timers that differ. One that
 * ends earlier was not idle for too long: the request on it was taken, and lost.
 */
const LEAST_KEEP_ALIVE_MS = 500;

/** One keep-alive connection, and the requests that wait for it: each is sent once the one before it has ended. */
export class Lane {
  readonly agent = new Agent({ keepAlive: true, maxSockets: 1 });
  private tail: Promise<unknown> = Promise.resolve();
  /** When the last request was sent: its connection has been idle for no longer than since then, whenever its answer was read. */
  private usedAt = Number.POSITIVE_INFINITY;

  /**
   * Runs work when it is its turn.
   *
   * @param work is told whether the target may have closed the connection because it was idle
   */
  inTurn<T>(work: (mayBeOver: boolean) => Promise<T>): Promise<T> {
    const result = this.tail.then(async () => {
      const mayBeOver = performance.now() - this.usedAt >= LEAST_KEEP_ALIVE_MS;
      if (mayBeOver) await this.leaveWhatHasEnded();
      this.usedAt = performance.now();
      return work(mayBeOver);
    });
    this.tail = result.catch(() => undefined);
    return result;
  }

  close(): void {
    this.agent.destroy();
  }

  /**
   * After a stall of this process the answer to the last request and the end of its connection may both be there, unread: a
   * request sent now would look like a lost one. The first turn of the event loop may be the end of a look that began before.
   */
  private async leaveWhatHasEnded(): Promise<void> {
    await setImmediate();
    await setImmediate();
    for (const socket of this.free()) if (socket.readableEnded || !socket.writable) socket.destroy();
  }

  private free(): Socket[] {
    return Object.values(this.agent.freeSockets).flatMap((sockets) => sockets ?? []);
  }
}
