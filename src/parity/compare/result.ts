import type { Judgement } from "./check";
import type { RequestName } from "./name";
import type { ParitySide } from "./target";

/** Result of one line. */
export type ParityResult = Judgement & {
  /** From 1. */
  line: number;
  /** The request, if the answers were not equal; absent if the line is broken. */
  request?: RequestName;
  /** Milliseconds until a side's answer was complete. */
  ms: Partial<Record<ParitySide, number>>;
};
