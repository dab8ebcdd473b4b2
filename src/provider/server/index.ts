export { agentBundle } from "./agent-bundle";
export { diffValues } from "./diff";
export { type Failure, failuresOf } from "./failures";
export { contains, getAt, type Path, parsePath, renderPath } from "./path";
export type {
  AnyResource,
  Checked,
  Context,
  DiffEntry,
  DiffRequest,
  Log,
  Resource,
} from "./resource";
export { listen, serve } from "./serve";
export { containsUnknown, isUnknown, UNKNOWN, Unknown, unknownPaths } from "./unknown";
export { marshal, type Properties, unmarshal } from "./value";
