import { titleOf } from "./labels";
import { messageOf, type PoolHost, type Slot, subjectOf } from "./slot";

/**
 * Tells the edges which processes that take requests are gone or back, before HAProxy's own checks find out: for some seconds
 * these would send requests to nobody, or to one that is not ready again.
 */
export class EdgeNews {
  /** One after the other: of two that crash at once each must know of the other. Never rejects. */
  private turn: Promise<void> = Promise.resolve();
  /** What is true of a process by now: older news of it, told late, would take one that is back out of the traffic. */
  private readonly newest = new WeakMap<Slot, "gone" | "back">();

  constructor(private readonly host: Pick<PoolHost, "traffic" | "events">) {}

  /** The last one that takes requests is not told to be gone: they wait some seconds for its restart, and would fail at once. */
  gone(slot: Slot): void {
    this.tell(slot, "gone", async (port) => {
      const taking = await this.host.traffic.taking(slot.instance.pool);
      const isLast = taking.every((other) => other === port);
      if (!isLast && this.newest.get(slot) === "gone") await this.host.traffic.tell("127.0.0.1", port, "down");
    });
  }

  back(slot: Slot): void {
    this.tell(slot, "back", (port) => this.host.traffic.tell("127.0.0.1", port, "up"));
  }

  private tell(slot: Slot, what: "gone" | "back", work: (port: number) => Promise<void>): void {
    const { instance } = slot;
    const { template, port } = instance;
    if (template.policy !== "proxied" || port === undefined) return;
    const subject = subjectOf(instance);
    this.newest.set(slot, what);
    this.turn = this.turn
      .then(async () => {
        if (this.newest.get(slot) === what) await work(port);
      })
      .catch((error: unknown) => {
        this.host.events.emit(
          `HAProxy could not be told that ${titleOf(subject)} is ${what}, and finds out itself: ${messageOf(error)}`,
          { ...subject },
        );
      });
  }
}
