import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { messageOf } from "../../model/types/errors";
import { resources } from "../resources";
import { type Context, containsUnknown, type Path, type Properties, renderPath, UNKNOWN } from "../server";
import { configOf, readManifest } from "./config";

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

const found: Promise<Validated>[] = [];
/** The resource that has declared each target first. */
const declarers = new Map<string, string>();
let failure: string | undefined;
let ended = false;

async function main(project: string, stack: string): Promise<void> {
  const manifest = await readManifest(project);
  const config = await configOf(project, stack, manifest);
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

function declare({ type, name, inputs }: pulumi.runtime.MockResourceArgs): {
  id: string;
  state: Record<string, unknown>;
} {
  const resource = resources.find((each) => each.type === type);
  if (resource !== undefined) {
    const secrets: string[] = [];
    const news = opened(inputs, [], secrets) as Properties;
    const twins = declaredTwice(resource, `${type.split(":").at(-1)} ${name}`, news);
    // No host is asked: what is there now is the preview's matter.
    if (type !== "sluice:index:Agent") news.agent = UNKNOWN;
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
          problems: [...twins, ...failures.map(({ property, reason }) => ({ path: property, message: reason }))],
        }),
        (error: Error) => ({ type, name, problems: [{ path: "", message: error.message }] }),
      ),
    );
  } else if (type.startsWith("sluice:index:")) {
    const message = `this version of Sluice has no ${type}: use one that it has, or install a version that has this one`;
    found.push(Promise.resolve({ type, name, problems: [{ path: "", message }] }));
  }
  return { id: name, state: { ...inputs, ...outputsOf(type, inputs) } };
}

/** Targets on an agent that another resource of the program has declared already. */
function declaredTwice({ targets }: (typeof resources)[number], title: string, inputs: Properties) {
  if (containsUnknown(inputs)) return [];
  return (targets?.(inputs) ?? []).flatMap((target) => {
    const other = declarers.get(target);
    declarers.set(target, other ?? title);
    if (other === undefined) return [];
    const message = `${target} is declared by ${other} too: give this one another name, or leave one of the two out`;
    return [{ path: "", message }];
  });
}

const SILENT = new Proxy({} as Context["log"], { get: () => () => undefined });

/** Outputs that others may read of a resource that has not been made. */
function outputsOf(type: string, inputs: Record<string, unknown>): Record<string, unknown> {
  if (type === "sluice:index:Agent")
    return {
      connection: { directory: inputs.directory, socket: inputs.socket ?? `${inputs.directory}/agent.sock` },
      version: "",
    };
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
  failure ??= messageOf(error);
};
process.on("unhandledRejection", fail).on("uncaughtException", fail);
// Once nothing is left to do, everything that the program declares is declared.
process.once("beforeExit", () => {
  void Promise.all(found).then((declared) => {
    if (!ended) fail("it waits for something that never comes");
    if (pulumi.log.hasErrors()) fail("it logged an error, which makes an update fail");
    // With the exit code that the program has set, or the SDK, for promises that nothing keeps.
    process.send?.({ resources: declared, ...(failure === undefined ? {} : { failure }) }, () => process.exit());
  });
});
const [project = "", stack = ""] = process.argv.slice(2);
main(project, stack)
  .catch(fail)
  .finally(() => {
    ended = true;
  });
