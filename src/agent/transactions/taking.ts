import type { MayTake } from "../host/host";
import type { StepContext } from "./step-context";

/** Lets a step take over what is declared. */
export function taking({ signal, phase }: StepContext, { again }: { again: boolean }): MayTake {
  return { signal, again, notify: (message) => phase("take", message) };
}
