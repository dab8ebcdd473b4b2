import type { DropReason } from "../../model/route/mirror";
import { Cell, encodeCell, MAX_CELL } from "../meter/cell";
import { emptyLine } from "../meter/line";

/** Status with which HAProxy would have answered a request whose server failed like this. */
const FAULTS: Partial<Record<string, number>> = {
  connect: 503,
  down: 503,
  "no-server": 503,
  broken: 502,
  timeout: 504,
} satisfies Partial<Record<DropReason, number>>;
/** Copies that the shadow would have got if the way to it were faster: without them, its answers are not all there are. */
const LOST: ReadonlySet<string> = new Set<DropReason>(["queue", "away", "overload"]);

/** Time to a head that never came. */
const NO_HEAD = -1;

const [CLIENT, SERVER, CONNECTING, NORMAL] = ["C", "S", "C", "-"].map((c) => c.charCodeAt(0)) as [
  number,
  number,
  number,
  number,
];

/** Counts a shadow's answers as an edge's meter counts those of a server, so that both can be judged alike. */
export class ShadowCounts {
  private readonly cells = new Map<string, Cell>();
  private readonly line = emptyLine();
  private readonly room = new Uint8Array(MAX_CELL);

  /** @param ms time to the head of the answer */
  answer(edge: string, status: number, ms: number): void {
    this.record(edge, { status, ms, who: NORMAL, when: NORMAL });
  }

  drop(edge: string, reason: string, { copies, ms }: { copies: number; ms: number }): void {
    const status = FAULTS[reason];
    // A request that can't be copied at all says nothing about the shadow.
    if (status === undefined && !LOST.has(reason)) return;
    for (let copy = 0; copy < copies; copy++)
      if (status === undefined) this.record(edge, { status: 0, ms: NO_HEAD, who: CLIENT, when: NORMAL });
      else this.record(edge, { status, ms, who: SERVER, when: status === 503 ? CONNECTING : NORMAL });
  }

  /** Takes the counts since the last time, by edge. */
  take(): { edge: string; cell: Uint8Array }[] {
    const taken = [...this.cells].map(([edge, cell]) => ({
      edge,
      cell: this.room.slice(0, encodeCell(cell, this.room, 0)),
    }));
    this.cells.clear();
    return taken;
  }

  private record(
    edge: string,
    { status, ms, who, when }: { status: number; ms: number; who: number; when: number },
  ): void {
    const cell = this.cells.get(edge) ?? new Cell();
    this.cells.set(edge, cell);
    const time = Math.round(ms);
    cell.record(Object.assign(this.line, { status, who, when, headMs: time, totalMs: time }));
  }
}
