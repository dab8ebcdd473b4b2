import { messageOf } from "../../../model/types/errors";
import { titleOf } from "../launch/labels";
import { type SupervisedProcess, type SupervisionContext, subjectOf } from "../supervise/supervised-process";

/**
 * Tells the edges which processes that take requests are gone or back, before HAProxy's own checks find out: for some seconds
 * these would send requests to nobody, or to one that is not ready again.
 */
export class HealthNotifier {
  /** One after the other: of two that crash at once each must know of the other. Never rejects. */
  private turn: Promise<void> = Promise.resolve();
  /** Latest state of a process: an older message, sent late, would take one that is back out of the traffic. */
  private readonly latest = new WeakMap<SupervisedProcess, "gone" | "back">();

  constructor(private readonly host: Pick<SupervisionContext, "traffic" | "events">) {}

  /** The last one that takes requests is not told to be gone: they wait some seconds for its restart, and would fail at once. */
  notifyDown(supervised: SupervisedProcess): void {
    this.enqueue(supervised, "gone", async (port) => {
      const taking = await this.host.traffic.receivingPorts(supervised.instance.pool);
      const isLast = taking.every((other) => other === port);
      if (!isLast && this.latest.get(supervised) === "gone")
        await this.host.traffic.notifyHealth("127.0.0.1", port, "down");
    });
  }

  notifyUp(supervised: SupervisedProcess): void {
    this.enqueue(supervised, "back", (port) => this.host.traffic.notifyHealth("127.0.0.1", port, "up"));
  }

  private enqueue(supervised: SupervisedProcess, what: "gone" | "back", work: (port: number) => Promise<void>): void {
    const { instance } = supervised;
    const { template, port } = instance;
    if (template.policy !== "proxied" || port === undefined) return;
    const subject = subjectOf(instance);
    this.latest.set(supervised, what);
    this.turn = this.turn
      .then(async () => {
        if (this.latest.get(supervised) === what) await work(port);
      })
      .catch((error: unknown) => {
        this.host.events.emit(
          `HAProxy could not be told that ${titleOf(subject)} is ${what}, and finds out itself: ${messageOf(error)}`,
          { ...subject },
        );
      });
  }
}
