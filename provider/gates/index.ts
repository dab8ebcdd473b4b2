export { type Clock, type GateContext, type Side, SYSTEM_CLOCK } from "./context";
export { queryProblem } from "./prometheus";
export { GateBreach, type GateRecord, type Measurement, watchGates } from "./runner";
