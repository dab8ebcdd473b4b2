export { agentBundle } from "./agent-bundle";
export { type Failure, failuresOf } from "./failures";
export type {
  AnyResource,
  Checked,
  Context,
  DiffEntry,
  DiffRequest,
  Log,
  Outputs,
  Resource,
} from "./resource";
export { listen, serve } from "./serve";
export { diffValues } from "./values/diff";
export { contains, getAt, type Path, parsePath, renderPath } from "./values/path";
export { containsUnknown, isUnknown, UNKNOWN, Unknown, unknownPaths } from "./values/unknown";
export { marshal, type Properties, unmarshal } from "./values/value";
