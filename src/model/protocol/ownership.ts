import { z } from "zod";
import { parseUrn } from "../types/urn";

/**
 * The owner of a target. The URN tells people; the token tells a resource that was renamed from another one that
 * declares the same: it is drawn when a resource is created or taken over, and kept by the target's agent and in the
 * resource's recorded outputs.
 */
export const ownership = z.strictObject({
  urn: z.string(),
  /** Left out where a version before tokens recorded it. */
  token: z.string().optional(),
});
export type Ownership = z.output<typeof ownership>;

/** In which role a resource opens a transaction on a target; its URN is why the transaction is held. */
export const claim = z.strictObject({
  kind: z.enum(["create", "change", "remove"]),
  /** The one that its recorded outputs have, or that they will have. */
  token: z
    .string()
    .regex(/^[0-9a-f]{24}$/)
    .optional(),
});
export type Claim = z.output<typeof claim>;

/** A resource that declares an agent, or that does so no more. Several stacks may declare the same one. */
export const declarer = z.strictObject({
  urn: z.string().min(1).max(1000),
  token: claim.shape.token.unwrap(),
  gone: z.boolean(),
});
export type Declarer = z.output<typeof declarer>;

/** A stack whose resources an agent is to know no more, as `project/stack`. */
export const disowned = z.strictObject({
  stack: z.string().regex(/^[^/\s]+\/[^/\s]+$/, "is not a stack: name it as project/stack"),
});

/** Whether a resource that has a target in its recorded state still owns it. */
export function owns(known: Ownership | undefined, token: string | undefined): boolean {
  return known?.token === undefined || known.token === token;
}

/**
 * Why a resource may not act on a target. Within a stack, whatever declares a target takes it over, and who had it before can't
 * remove it any more: so a rename moves it. Between stacks, only the token does that.
 */
export function claimProblem(
  target: string,
  known: Ownership | undefined,
  { kind, token, urn }: Claim & { urn: string },
): string | undefined {
  if (known === undefined || (kind !== "create" && owns(known, token))) return undefined;
  if (kind === "remove") return `${target} is not removed for ${urn}: it belongs to ${known.urn} now`;
  if (known.urn === urn || isSameStack(known.urn, urn)) return undefined;
  return `${target} belongs to ${stackOf(known.urn)}: destroy it there, move that resource here with "pulumi state move", or use another name${wayOut(known.urn)}`;
}

/**
 * Why a resource may not give an agent other options than it has: the stack that declared the agent first says what they are.
 *
 * @param declarers by token, in their order
 * @param names of the options that differ
 */
export function optionsProblem(
  directory: string,
  { declarers, names }: { declarers: Record<string, string>; names: readonly string[] },
  { urn, token }: { urn: string; token: string | undefined },
): string | undefined {
  const [first] = Object.entries(declarers);
  if (names.length === 0 || first === undefined || first[0] === token || isSameStack(first[1], urn)) return undefined;
  return `the agent of ${directory} belongs to ${stackOf(first[1])}, which declares another ${names.join(", ")}: declare the same here, change it there, or destroy it there first${wayOut(first[1])}`;
}

/** Remedy where a stack was removed without its resources. */
function wayOut(urn: string): string {
  const stack = stackNameOf(urn);
  return stack === undefined
    ? ""
    : `; if that stack is gone for good, run "sluice agent disown ${stack}" on the agent's host`;
}

/** Name of a resource's stack as `project/stack`; undefined for what is no URN. */
export function stackNameOf(urn: string): string | undefined {
  const owner = parseUrn(urn);
  return owner && `${owner.project}/${owner.stack}`;
}

/** A resource's stack in words. */
function stackOf(urn: string): string {
  const owner = parseUrn(urn);
  return owner === undefined ? urn : `stack ${owner.stack} of project ${owner.project} (${urn})`;
}

export function isSameStack(one: string, other: string): boolean {
  const [a, b] = [one, other].map(parseUrn);
  return a !== undefined && a.stack === b?.stack && a.project === b.project;
}
