export { type Clock, type GateContext, KEPT_MEASUREMENTS, SYSTEM_CLOCK } from "./context";
export { parityProblems } from "./parity";
export { checkQuery } from "./prometheus";
export { GateBreach, type GateRecord, namesOf, watchGates } from "./runner";
