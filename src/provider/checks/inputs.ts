import { z } from "zod";
import { issueMessage } from "../../model/types/messages";
import {
  containsUnknown,
  type DiffEntry,
  diffValues,
  type Failure,
  failuresOf,
  getAt,
  type Properties,
} from "../server";
import { partlyKnown } from "./partly-known";

/** Inputs that Check adds: what reality is expected to be, and what changes. Programs do not write them. */
const COMPUTED = ["live", "declaredBy", "change", "secretNames", "canarySecretNames", "version"] as const;

/** Names of the inputs that a program writes. */
export function declaredKeys(inputs: object): string[] {
  return Object.keys(inputs).filter((key) => !(COMPUTED as readonly string[]).includes(key));
}

/** A resource's inputs as a schema sees them: one schema per part, since a part may have checks across its properties. */
interface Parts<Own extends z.ZodRawShape, Spec extends z.ZodType<object>> {
  /** Schemas of single properties. */
  own: Own;
  /** Schema of everything else. */
  spec: Spec;
}

export interface ParsedInputs<V> {
  failures: Failure[];
  /** Everything with its defaults, whatever is not known yet; as the type says where there are no failures. */
  values: V;
  /** Whether all of it is known. */
  known: boolean;
}

/** Checks a program's inputs, all problems at once, each with its path. */
export function parseInputs<Own extends z.ZodRawShape, Spec extends z.ZodType<object>>(
  news: Properties,
  { own, spec }: Parts<Own, Spec>,
): ParsedInputs<z.output<z.ZodObject<Own>> & z.output<Spec>> {
  const given: Properties = Object.fromEntries(declaredKeys(news).map((key) => [key, news[key]]));
  const rest = Object.fromEntries(Object.entries(given).filter(([key]) => own[key] === undefined));
  const known = !containsUnknown(given);
  const parse = (schema: z.core.$ZodType, value: unknown) =>
    z.safeParse(known ? schema : partlyKnown(schema), value, { error: issueMessage });
  const failures: Failure[] = [];
  const values: Properties = {};
  for (const [key, schema] of Object.entries(own)) {
    const result = parse(schema, given[key]);
    if (result.success) {
      if (result.data !== undefined) values[key] = result.data;
    } else {
      failures.push(...failuresOf(result.error, [key]));
      values[key] = given[key];
    }
  }
  const result = parse(spec, rest);
  if (!result.success) failures.push(...failuresOf(result.error));
  const all: object = { ...values, ...(result.success ? (result.data as object) : rest) };
  // The one place where inputs get their types: every part is what its schema gave, or a failure tells otherwise.
  return { failures, values: all as z.output<z.ZodObject<Own>> & z.output<Spec>, known };
}

/**
 * How a resource differs: declared properties by their inputs, and reality by what was observed. An update brings both
 * to what is declared.
 *
 * @param ignored paths whose change, or that of what is below them, needs nothing at all
 * @param expected reality as inputs without `live` expect it: a create records none, and a refresh compares with the record
 */
export function differences<I extends object>(
  request: { olds: object; oldInputs: I; news: I },
  { ignored = [], expected }: { ignored?: string[]; expected: (inputs: I) => unknown },
): DiffEntry[] {
  const { olds, oldInputs, news } = request;
  const declared = [...new Set([...declaredKeys(oldInputs), ...declaredKeys(news)])]
    .flatMap((key) => diffValues(getAt(oldInputs, [key]), getAt(news, [key]), [key], { inputDiff: true }))
    .filter(
      ({ path }) =>
        !ignored.some((outer) => path === outer || (/^[.[]/.test(path.slice(outer.length)) && path.startsWith(outer))),
    );
  return [
    ...declared,
    ...diffValues(getAt(olds, ["live"]), getAt(news, ["live"]) ?? expected(news), ["live"]),
    ...urnDifference(olds, news),
  ];
}

/** A resource with another URN tells its agent so, whatever else stays as it is. */
function urnDifference(old: object, next: object): DiffEntry[] {
  const [before, after] = [old, next].map((bag) => getAt(bag, ["declaredBy", "urn"]));
  return before === undefined || after === undefined ? [] : diffValues(before, after, ["declaredBy", "urn"]);
}

/** Whether checked inputs equal the recorded ones: then the agent has them already, and is not asked. */
export function asRecorded(olds: object | undefined, values: object): boolean {
  if (olds === undefined) return false;
  const recorded = new Set(declaredKeys(olds));
  const declared = Object.fromEntries(Object.entries(olds).filter(([key]) => recorded.has(key)));
  return diffValues(declared, values, []).length === 0;
}

/**
 * Checked inputs with the reality and the owner that they expect, once there are such to compare with: on a create they would
 * only be noise in the preview.
 */
export function withLive(values: object, olds: object | undefined, live: unknown, urn: string): object {
  return olds === undefined ? values : { ...values, live, declaredBy: { urn } };
}

/**
 * Another name means another edge or pool, and the one that serves would have to stop before it: that is refused, so that
 * a rename in a program does not stop the traffic.
 */
export function renameFailures(olds: object | undefined, news: object): Failure[] {
  const [before, after] = [olds, news].map((inputs) => getAt(inputs, ["name"]));
  if (typeof before !== "string" || typeof after !== "string" || before === after) return [];
  const reason = `${before} can't become ${after} while it serves: keep name: "${before}", or declare ${after} beside it and remove ${before} later`;
  return [{ property: "name", reason }];
}

/**
 * A resource of one host, or of one edge, can't move to another while it serves: the new one can't start beside it
 * under its name before the old one has stopped.
 *
 * @param keys properties that say where it is: `edge`, `agent.directory`
 */
export function moveFailures(olds: object | undefined, news: object, keys: readonly string[]): Failure[] {
  return keys.flatMap((key) => {
    const [before, after] = [olds, news].map((inputs) => getAt(inputs, key.split(".")));
    if (typeof before !== "string" || typeof after !== "string" || before === after) return [];
    const reason = `${before} can't become ${after} while ${shownName(news)} serves: declare another one there, lead the traffic to it, and remove this one later; where ${before} is gone for good, take this one out of the stack first (pulumi state delete)`;
    return [{ property: key, reason }];
  });
}

function shownName(news: object): string {
  const name = getAt(news, ["name"]);
  return typeof name === "string" ? name : "it";
}
