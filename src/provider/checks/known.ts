import { containsUnknown, isUnknown, UNKNOWN, type Unknown } from "../server";

/** A value whose reads are watched. */
interface Watched<T> {
  /** Looks like the given one, at any depth. */
  value: T;
  /** Whether something unknown was read from it. */
  touched(): boolean;
}

/** Watches whether something unknown is read of a value: what was concluded before, or without that, is true whatever it is. */
export function watchReads<T>(value: T): Watched<T> {
  let touched = false;
  const seen = new WeakMap<object, object>();
  const watch = <V>(inner: V): V => {
    if (isUnknown(inner)) touched = true;
    if (typeof inner !== "object" || inner === null || isUnknown(inner) || !containsUnknown(inner)) return inner;
    const known = seen.get(inner);
    if (known !== undefined) return known as V;
    const view = new Proxy<object>(inner, { get: (target, key) => watch(Reflect.get(target, key)) });
    seen.set(inner, view);
    return view as V;
  };
  return { value: watch(value), touched: () => touched };
}

/** Computes a pure function of inputs; `UNKNOWN` if it reads something that is not known. */
export function whenKnown<I, T>(inputs: I, compute: (inputs: I) => T): T | Unknown {
  if (!containsUnknown(inputs)) return compute(inputs);
  const { value, touched } = watchReads(inputs);
  try {
    const result = compute(value);
    if (!touched()) return unwatched(result);
  } catch (error) {
    if (!touched()) throw error;
  }
  return UNKNOWN;
}

/** Parts of a value, each by itself, so that those are known which depend on nothing unknown. */
export function eachWhenKnown<I, T extends object>(
  inputs: I,
  parts: { [Part in keyof T]-?: (inputs: I) => T[Part] | undefined },
): { [Part in keyof T]: T[Part] | Unknown } {
  const made = Object.entries<(inputs: I) => unknown>(parts).map(([name, part]) => [name, whenKnown(inputs, part)]);
  return Object.fromEntries(made.filter(([, value]) => value !== undefined));
}

/** A result as plain data, which may hold watched parts of what it was made of. */
function unwatched<T>(value: T): T {
  if (typeof value !== "object" || value === null || isUnknown(value)) return value;
  if (Array.isArray(value)) return value.map(unwatched) as T;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, unwatched(inner)])) as T;
}
