export { type AgentBundle, agentBundle } from "./agent-bundle";
export { type DiffMarks, diffValues } from "./diff";
export { type Failure, failuresOf } from "./failures";
export { Interrupted } from "./operations";
export { contains, getAt, type Path, parsePath, renderPath } from "./path";
export type {
  AnyResource,
  Checked,
  Context,
  DiffEntry,
  Difference,
  DiffRequest,
  Log,
  Observed,
  Resource,
  UpdateRequest,
} from "./resource";
export { listen, type Running, serve } from "./serve";
export type { ProviderDefinition } from "./service";
export { containsUnknown, isUnknown, UNKNOWN, Unknown, unknownPaths } from "./unknown";
export { marshal, type Properties, unmarshal } from "./value";
