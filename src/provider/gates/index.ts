export { type Clock, type GateContext, KEPT_MEASUREMENTS, SYSTEM_CLOCK } from "./context";
export { parityProblems } from "./parity";
export { assertServersAnswer, checkQuery } from "./prometheus";
export { GateBreach, type GateRecord, namesOf, watchGates } from "./runner";
