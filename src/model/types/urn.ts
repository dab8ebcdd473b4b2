/** Parts of a resource's URN. */
export interface UrnParts {
  stack: string;
  project: string;
  /** Without those of its parents. */
  type: string;
  name: string;
}

/** The parts of `urn:pulumi:<stack>::<project>::<parents' types>$<type>::<name>`; nothing for other text. */
export function parseUrn(urn: string): UrnParts | undefined {
  const [, stack, project, types = "", name] = /^urn:pulumi:(.*?)::(.*?)::(.*?)::(.*)$/s.exec(urn) ?? [];
  if (stack === undefined || project === undefined || name === undefined) return undefined;
  return { stack, project, type: types.split("$").at(-1) ?? "", name };
}
