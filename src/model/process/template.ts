/**
 * Templates in commands, working folders and environments: `{{release.path}}/bin/server --port {{port}}`.
 * Pure: what is known here is which names exist; the host's environment is looked up by the agent.
 */

/** Values that a template can name, for one replica of one process of one release. */
export interface TemplateValues {
  release: { id: string; path: string; revision?: string | undefined };
  process: { id: string };
  replica: { index: number; count: number };
  /** Port of this replica, where it has one. */
  port?: number | undefined;
  /** Ports of the pool's processes by name: the service's own, or the first replica's of the same release. */
  ports: Record<string, number>;
  /** Address of the edge's first listener, such as `127.0.0.1:8080`. */
  edge: { address: string };
  /** The agent's own environment: `{{host.env.HOME}}`. */
  hostEnv: Record<string, string | undefined>;
}

/** Escape for two braces that begin no template. */
const ESCAPED = "{{{{";
const TEMPLATE = /\{\{\{\{|\{\{([^{}]*)\}\}/g;
const FIXED = [
  "release.id",
  "release.path",
  "release.revision",
  "process.id",
  "replica.index",
  "replica.count",
  "port",
  "edge.address",
] as const;

/** Every template in a text, without braces, in order. */
export function templatesIn(text: string): string[] {
  return [...text.matchAll(TEMPLATE)].flatMap(([found, template = ""]) => (found === ESCAPED ? [] : [template.trim()]));
}

/**
 * Why a text's templates cannot be filled in for a process, or nothing.
 *
 * @param ported names of the pool's processes that have a port
 * @param hasPort whether the process itself has one
 * @param hasRevision whether the release declares a revision
 */
export function templateProblems(
  text: string,
  known: { ported: readonly string[]; hasPort: boolean; hasRevision: boolean },
): string[] {
  const open = text.replace(TEMPLATE, "").includes("{{")
    ? [`holds "{{" that no "}}" closes: write a template as {{port}}, and two braces themselves as "${ESCAPED}"`]
    : [];
  const problems = templatesIn(text).flatMap((template) => {
    if (template === "port" && !known.hasPort) return ["{{port}} is used, but this process has no port: declare one"];
    if (template === "release.revision" && !known.hasRevision)
      return ["{{release.revision}} is used, but the release declares no revision: add release.revision"];
    if ((FIXED as readonly string[]).includes(template)) return [];
    if (/^host\.env\.[A-Za-z_][A-Za-z0-9_]*$/.test(template)) return [];
    const other = /^ports\.(.+)$/.exec(template)?.[1];
    if (other !== undefined)
      return known.ported.includes(other)
        ? []
        : [`{{${template}}} names no process with a port: use one of ${list(known.ported)}`];
    const all = list([...FIXED, "ports.<process>", "host.env.<NAME>"]);
    return [`{{${template}}} is not a template: use one of ${all}, or "${ESCAPED}" for the two braces themselves`];
  });
  return [...problems, ...open];
}

function list(names: readonly string[]): string {
  return names.length === 0 ? "none (no process of this pool has a port)" : names.join(", ");
}

/** A text with its templates filled in. Throws where a fact is missing, naming it. */
export function fill(text: string, facts: TemplateValues): string {
  return text.replace(TEMPLATE, (found, raw = "") => (found === ESCAPED ? "{{" : lookUp(raw.trim(), facts)));
}

function lookUp(template: string, facts: TemplateValues): string {
  const value = factOf(template, facts);
  if (value === undefined) throw new Error(`{{${template}}} has no value on this host`);
  return String(value);
}

function factOf(template: string, facts: TemplateValues): string | number | undefined {
  switch (template) {
    case "release.id":
      return facts.release.id;
    case "release.path":
      return facts.release.path;
    case "release.revision":
      return facts.release.revision;
    case "process.id":
      return facts.process.id;
    case "replica.index":
      return facts.replica.index;
    case "replica.count":
      return facts.replica.count;
    case "port":
      return facts.port;
    case "edge.address":
      return facts.edge.address;
  }
  if (template.startsWith("ports.")) return own(facts.ports, template.slice("ports.".length));
  if (template.startsWith("host.env.")) return own(facts.hostEnv, template.slice("host.env.".length));
  return undefined;
}

/** A property that was put there, not one that every object has. */
function own<T>(record: Record<string, T>, key: string): T | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}

/** The same facts as `SLUICE_*` environment variables. */
export function factsAsEnvironment(facts: TemplateValues): Record<string, string> {
  const entries: [string, string | number | undefined][] = [
    ["SLUICE_RELEASE_ID", facts.release.id],
    ["SLUICE_RELEASE_PATH", facts.release.path],
    ["SLUICE_REVISION", facts.release.revision],
    ["SLUICE_PROCESS_ID", facts.process.id],
    ["SLUICE_REPLICA_INDEX", facts.replica.index],
    ["SLUICE_REPLICA_COUNT", facts.replica.count],
    ["SLUICE_PORT", facts.port],
    ["SLUICE_EDGE_ADDRESS", facts.edge.address],
    ...Object.entries(facts.ports).map(([process, port]): [string, number] => [
      `SLUICE_PORT_${process.toUpperCase().replaceAll("-", "_")}`,
      port,
    ]),
  ];
  return Object.fromEntries(entries.flatMap(([key, value]) => (value === undefined ? [] : [[key, String(value)]])));
}
