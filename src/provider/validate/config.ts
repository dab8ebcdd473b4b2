import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "yaml";

/** Stands for a config value that only the stack's passphrase opens. */
const SEALED = "a-value-that-is-encrypted";

interface Declared {
  type?: "string" | "integer" | "boolean" | "array";
  default?: unknown;
  value?: unknown;
}

interface Manifest {
  name?: string;
  main?: string;
  stackConfigDir?: string;
  config?: Record<string, unknown>;
}

export async function readManifest(project: string): Promise<Manifest> {
  return (parse(await readFile(join(project, "Pulumi.yaml"), "utf8")) as Manifest | null) ?? {};
}

/**
 * The config that an engine gives a stack's program: the stack's own values, else those that the project declares. Encrypted
 * values are there, since a program may demand them.
 *
 * @throws where a value that the project declares is missing or of another type, as an engine would
 */
export async function configOf(project: string, stack: string, manifest: Manifest): Promise<Record<string, string>> {
  const { name = "", stackConfigDir = ".", config = {} } = manifest;
  const file = parse(await readFile(join(project, stackConfigDir, `Pulumi.${stack}.yaml`), "utf8")) as Manifest | null;
  const own = namespaced(name, file?.config ?? {});
  const declared = namespaced(name, config);
  const problems: string[] = [];
  const values: Record<string, string> = {};
  for (const key of new Set([...Object.keys(declared), ...Object.keys(own)])) {
    const { type, ...given } = declarationOf(declared[key]);
    const value = own[key] ?? given.value ?? given.default;
    if (value === undefined || value === null)
      problems.push(`stack ${stack} has no value of ${key}, which Pulumi.yaml declares: set it`);
    else if (isSealed(value)) values[key] = SEALED;
    else if (!isOf(type, value))
      problems.push(`${key} of stack ${stack} is not of type ${type}, as Pulumi.yaml declares it`);
    else values[key] = typeof value === "object" ? JSON.stringify(value) : String(value);
  }
  if (problems.length > 0) throw new Error(problems.join("\n"));
  return values;
}

/** A key without a namespace is the project's. */
function namespaced(project: string, config: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(config).map(([key, value]) => [key.includes(":") ? key : `${project}:${key}`, value]),
  );
}

function declarationOf(given: unknown): Declared {
  if (typeof given !== "object" || given === null || Array.isArray(given)) return { value: given };
  return given;
}

function isSealed(value: unknown): boolean {
  return typeof value === "object" && value !== null && "secure" in value;
}

function isOf(type: Declared["type"], value: unknown): boolean {
  if (type === "integer") return Number.isInteger(typeof value === "string" ? Number(value) : value);
  if (type === "boolean") return value === true || value === false || value === "true" || value === "false";
  if (type === "array") return Array.isArray(value);
  return true;
}
