import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { parse } from "yaml";
import { resources } from "../resources";
import { type Context, type Path, type Properties, renderPath, UNKNOWN } from "../server";

/**
 * Runs a stack's program without an engine, and checks what it declares by the provider's own Check, as far as no host is
 * needed for that. Started by `sluice validate` with the project's folder and the stack's name; answers by a message.
 */

/** A resource that a program declared, and what is wrong with it. */
interface Validated {
  type: string;
  name: string;
  problems: { path: string; message: string }[];
}

/** How the SDK marks a secret value in inputs. */
const SECRET_KEY = "4dabf18193072939515e22adb298388d";
/** Stands for a config value that only the stack's passphrase opens. */
const SEALED = "a-value-that-is-encrypted";

const found: Promise<Validated>[] = [];
let failure: string | undefined;

async function main(project: string, stack: string): Promise<void> {
  const manifest = parse(await readFile(join(project, "Pulumi.yaml"), "utf8")) as Record<string, string>;
  const settings = await readFile(join(project, manifest.stackConfigDir ?? ".", `Pulumi.${stack}.yaml`), "utf8");
  const config = configOf(parse(settings) as { config?: Record<string, unknown> } | null);
  process.env.PULUMI_CONFIG = JSON.stringify(config);
  process.env.PULUMI_NODEJS_STACK = stack;
  process.env.PULUMI_NODEJS_PROJECT = manifest.name;
  pulumi.runtime.setAllConfig(config);
  await pulumi.runtime.setMocks({ newResource: declare, call: () => ({}) }, manifest.name, stack, true);
  const program = resolve(project, manifest.main ?? "index.ts");
  // As the engine's host does it.
  process.chdir(dirname(program));
  const exported: unknown = createRequire(join(project, "Pulumi.yaml"))(program);
  if (typeof exported === "function") await exported();
  else await exported;
}

/** Sealed values are there, since a program may demand them. */
function configOf(settings: { config?: Record<string, unknown> } | null): Record<string, string> {
  const entries = Object.entries(settings?.config ?? {}).map(([key, value]) => {
    if (typeof value === "object" && value !== null && "secure" in value) return [key, SEALED];
    return [key, typeof value === "object" ? JSON.stringify(value) : String(value)];
  });
  return Object.fromEntries(entries) as Record<string, string>;
}

function declare({ type, name, inputs }: pulumi.runtime.MockResourceArgs): {
  id: string;
  state: Record<string, unknown>;
} {
  const resource = resources.find((each) => each.type === type);
  if (resource !== undefined) {
    const secrets: string[] = [];
    const news = opened(inputs, [], secrets) as Properties;
    // No host is asked: what is there now is the preview's matter.
    if (type !== "sluice:index:Agent") news.agent = UNKNOWN as unknown as Properties[string];
    const context: Context = {
      urn: `urn:pulumi:validate::validate::${type}::${name}`,
      name,
      type,
      preview: true,
      signal: new AbortController().signal,
      log: SILENT,
      secrets,
    };
    found.push(
      resource.check(context, { olds: undefined, news }).then(
        ({ failures }) => ({
          type,
          name,
          problems: failures.map(({ property, reason }) => ({ path: property, message: reason })),
        }),
        (error: Error) => ({ type, name, problems: [{ path: "", message: error.message }] }),
      ),
    );
  }
  return { id: name, state: { ...inputs, ...outputsOf(type, inputs) } };
}

const SILENT = new Proxy({} as Context["log"], { get: () => () => undefined });

/** What others may need of a resource that has not been made. */
function outputsOf(type: string, inputs: Record<string, unknown>): Record<string, unknown> {
  if (type === "sluice:index:Agent")
    return { connection: { directory: inputs.directory, socket: inputs.socket ?? "" }, version: "" };
  if (type === "sluice:index:Edge") return { address: "127.0.0.1:1" };
  return {};
}

/** A value with its secrets opened; their paths are collected. */
function opened(value: unknown, path: Path, secrets: string[]): unknown {
  if (Array.isArray(value)) return value.map((item, index) => opened(item, [...path, index], secrets));
  if (typeof value !== "object" || value === null) return value;
  if (SECRET_KEY in value) {
    secrets.push(renderPath(path));
    return opened((value as { value?: unknown }).value, path, secrets);
  }
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined);
  return Object.fromEntries(entries.map(([key, inner]) => [key, opened(inner, [...path, key], secrets)]));
}

const fail = (error: unknown) => {
  failure ??= error instanceof Error ? error.message : String(error);
};
process.on("unhandledRejection", fail).on("uncaughtException", fail);
// Once nothing is left to do, everything that the program declares is declared.
process.once("beforeExit", () => {
  void Promise.all(found).then((declared) => {
    process.send?.({ resources: declared, ...(failure === undefined ? {} : { failure }) }, () => process.exit(0));
  });
});
const [project = "", stack = ""] = process.argv.slice(2);
main(project, stack).catch(fail);
