import type { Phase, Target } from "../../model/protocol/transaction";
import type { Host } from "../host/host";
import type { Overlay } from "../state/desired";
import type { Secrets } from "../state/secrets";

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
