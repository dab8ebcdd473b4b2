import type { Phase, Step, Target } from "../../model/protocol/transaction";
import type { Host } from "../host/host";
import type { Overlay } from "../state/desired";
import type { Secrets } from "../state/secrets";

/** A step that changes one backend and nothing else. */
export type BackendStep = Extract<Step, { verb: "backend.set" | "backend.remove" }>;

/** Dependencies of a transaction's steps. */
export interface StepContext {
  target: Target;
  host: Host;
  secrets: Secrets;
  signal: AbortSignal;
  overlay: Overlay;
  setOverlay(overlay: Overlay): void;
  /** Takes back what the step has changed of the overlay. */
  withdraw(): void;
  /** Changes a backend, together with other transactions that do so at the same moment. */
  changeBackend(step: BackendStep): Promise<void>;
  phase(phase: Phase, message: string): void;
}
