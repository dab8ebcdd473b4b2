import type { Phase, Target } from "../model/transaction";
import type { Overlay } from "./desired";
import type { Host } from "./host";
import type { Secrets } from "./secrets";

/** Dependencies of a transaction's steps. */
export interface StepContext {
  target: Target;
  host: Host;
  secrets: Secrets;
  signal: AbortSignal;
  overlay: Overlay;
  setOverlay(overlay: Overlay): void;
  phase(phase: Phase, message: string): void;
}
