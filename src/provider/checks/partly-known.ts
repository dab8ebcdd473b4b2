import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { containsUnknown, getAt, isUnknown, type Path, UNKNOWN } from "../server";
import { watchReads } from "./known";

/** The schema itself is the key: what resources are made of is cloned once. */
const clones = new WeakMap<z.core.$ZodType, z.core.$ZodType>();

/**
 * A schema that takes `UNKNOWN` in the place of any value, at any depth, and else does what the given one does: it fills in
 * defaults and finds every problem of what is known. Checks across properties conclude nothing from what is not known.
 *
 * A union whose member depends on something unknown gives `UNKNOWN` as a whole, since each member has defaults of its own.
 */
export function partlyKnown<T extends z.core.$ZodType>(schema: T): T {
  return clone(schema) as T;
}

function clone(schema: z.core.$ZodType): z.core.$ZodType {
  const known = clones.get(schema);
  if (known !== undefined) return known;
  const { def } = (schema as z.core.$ZodTypes)._zod;
  const checks = def.checks?.map(cautious);
  const made = z.core.clone(
    schema,
    z.core.util.mergeDefs(def, innerOf(def), checks === undefined ? {} : { checks }) as typeof def,
  );
  const run = def.type === "union" ? chooser(made) : made._zod.run;
  made._zod.run = (payload, context) => (isUnknown(payload.value) ? payload : run(payload, context));
  clones.set(schema, made);
  return made;
}

/** The parts of a schema's definition that are schemas, or functions of values. */
function innerOf(def: z.core.$ZodTypes["_zod"]["def"]): object {
  switch (def.type) {
    case "object":
      return { shape: Object.fromEntries(Object.entries(def.shape).map(([key, inner]) => [key, clone(inner)])) };
    case "array":
      return { element: clone(def.element) };
    case "record":
      return { valueType: clone(def.valueType) };
    case "union":
      return { options: def.options.map(clone) };
    case "optional":
    case "nullable":
    case "default":
    case "prefault":
      return { innerType: clone(def.innerType) };
    case "pipe":
      return { in: clone(def.in), out: clone(def.out) };
    case "transform":
      return { transform: cautiousTransform(def.transform) };
    case "string":
    case "number":
    case "boolean":
    case "enum":
    case "literal":
    case "never":
      return {};
    default:
      throw new Error(`a schema of kind ${def.type} can't take unknown values yet: say here what it holds`);
  }
}

type Run = z.core.$ZodType["_zod"]["run"];

/** Tries every member of a union on a value that is partly unknown, where its discriminator does not tell the one. */
function chooser(union: z.core.$ZodType): Run {
  const { run, def } = (union as z.core.$ZodUnion)._zod;
  const { discriminator } = def as { discriminator?: string };
  return (payload, context) => {
    const { value } = payload;
    const isKnown = discriminator !== undefined && !isUnknown(getAt(value, [discriminator]));
    if (isKnown || !containsUnknown(value)) return run(payload, context);
    const fitting = def.options.flatMap((option) => {
      const result = option._zod.run({ value, issues: [] }, context);
      return result instanceof Promise || result.issues.length > 0 ? [] : [result.value];
    });
    const [first, ...others] = fitting;
    if (fitting.length === 0) {
      payload.issues.push({ code: "invalid_union", input: value, inst: union, errors: [] });
      return payload;
    }
    payload.value = others.every((other) => isDeepStrictEqual(first, other)) ? first : UNKNOWN;
    return payload;
  };
}

function cautiousTransform(transform: z.core.$ZodTransformDef["transform"]): z.core.$ZodTransformDef["transform"] {
  return (value, payload) => {
    try {
      return transform(value, payload);
    } catch (error) {
      if (containsUnknown(value)) return UNKNOWN;
      throw error;
    }
  };
}

/** A refinement that is given values which are partly unknown. Checks of a length or a form need no such care. */
function cautious(check: z.core.$ZodCheck<never>): z.core.$ZodCheck<never> {
  const { def } = check._zod;
  const { when } = def;
  if (def.check !== "custom") return check;
  const judge: Judge = (payload) => check._zod.check(payload as z.core.ParsePayload<never>);
  const made = new z.core.$ZodCheck({ check: "custom", ...(when === undefined ? {} : { when }) });
  made._zod.check = (payload: Payload) => {
    if (!containsUnknown(payload.value)) return judge(payload);
    // Checks with a `when` expect malformed values, and conclude nothing from them.
    const found = when === undefined ? judgeUntilUnknown(payload, judge) : judgeDraft(payload, judge);
    payload.issues.push(...found);
  };
  return made;
}

type Payload = z.core.ParsePayload;
type Judge = (payload: Payload) => z.core.util.MaybeAsync<void>;

/** Issues that are found before anything unknown is read. */
function judgeUntilUnknown({ value, issues }: Payload, judge: Judge): z.core.$ZodRawIssue[] {
  const watched = watchReads(value);
  const found = [...issues];
  found.push = (...more) => (watched.touched() ? found.length : Array.prototype.push.apply(found, more));
  try {
    judge({ value: watched.value, issues: found });
  } catch (error) {
    if (!watched.touched()) throw error;
  }
  return found.slice(issues.length);
}

/**
 * Issues of a value whose unknown parts are replaced by a placeholder of no type; none about the placeholder itself.
 */
function judgeDraft({ value, issues }: Payload, judge: Judge): z.core.$ZodRawIssue[] {
  const draft = asDraft(value);
  const found = [...issues];
  judge({ value: draft, issues: found });
  return found.slice(issues.length).filter(({ path = [] }) => !leadsToUnknown(value, path as Path));
}

/** A value with something malformed in the place of whatever is unknown, for checks that conclude nothing from such parts. */
export function asDraft<T>(value: T): T {
  if (isUnknown(value)) return Symbol("unknown") as T;
  if (Array.isArray(value)) return value.map(asDraft) as T;
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, asDraft(inner)])) as T;
}

/** Whether a path leads to, or through, something that is not known. */
export function leadsToUnknown(value: unknown, path: Path): boolean {
  return path.some((_, index) => isUnknown(getAt(value, path.slice(0, index + 1))));
}
