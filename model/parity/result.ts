import type { Judgement } from "./check";
import type { RequestName } from "./name";
import type { Side } from "./target";

/** What came of one line. */
export type ParityResult = Judgement & {
  /** From 1. */
  line: number;
  /** What was asked, where it was not equal; absent where the line is broken. */
  request?: RequestName;
  /** Milliseconds until a side's answer was complete. */
  ms: Partial<Record<Side, number>>;
};
