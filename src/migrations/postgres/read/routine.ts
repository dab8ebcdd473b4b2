import type * as Pg from "libpg-query";
import { canonical } from "../syntax/ast";
import { type Name, nameOfParts, stringsOf } from "../syntax/names";

/** What a function is to those who call it. */
export interface RoutineShape {
  name: Name;
  /** Its parameters' types, which tell it from others of its name. */
  signature: string;
  /** Parameters that calls may leave out. */
  defaults: number;
  returns: string;
  /** Only a trigger can call it. */
  forTriggers: boolean;
  /** Whether it returns rows. */
  set: boolean;
  /** Columns of what it returns, with their types, where it names them. */
  outputs: readonly string[];
}

export function routineShape({ funcname, parameters, returnType }: Pg.CreateFunctionStmt): RoutineShape {
  const all = (parameters ?? []).flatMap((node) => ("FunctionParameter" in node ? [node.FunctionParameter] : []));
  const isOutput = ({ mode }: Pg.FunctionParameter) => mode === "FUNC_PARAM_OUT" || mode === "FUNC_PARAM_TABLE";
  const inputs = all.filter((parameter) => !isOutput(parameter));
  const outputs = all.filter((parameter) => isOutput(parameter) || parameter.mode === "FUNC_PARAM_INOUT");
  return {
    name: nameOfParts(stringsOf(funcname)),
    signature: signatureOf(inputs.map(({ argType }) => argType)),
    defaults: inputs.filter(({ defexpr }) => defexpr !== undefined).length,
    returns: canonical(returnType),
    set: returnType?.setof === true,
    forTriggers: stringsOf(returnType?.names).at(-1) === "trigger",
    outputs: outputs.map(({ name, argType }) => `${name ?? ""} ${canonical(argType)}`),
  };
}

export const signatureOf = (types: readonly (Pg.TypeName | undefined)[]): string =>
  types.map((type) => canonical({ ...type, location: undefined })).join();

/** Whether callers of one find the same in another of its name: more columns at the end are no matter. */
export function serves(next: RoutineShape, before: RoutineShape): boolean {
  if (next.signature !== before.signature || next.defaults < before.defaults) return false;
  if (before.outputs.length < 2)
    return next.returns === before.returns && next.outputs.join() === before.outputs.join();
  if (next.set !== before.set) return false;
  return (
    next.outputs.length >= before.outputs.length && before.outputs.every((one, index) => one === next.outputs[index])
  );
}
