import type { Command } from "commander";
import { z } from "zod";
import { agentDocument, stopDocument } from "../agent";
import { disownDocument } from "../agent/disown";
import { EXIT } from "../common/exit";
import { doctorDocument } from "../doctor";
import { eventLine } from "../events";
import { evidenceListDocument } from "../evidence";
import { logLine } from "../logs";
import { recoverDocument } from "../recover";
import { restartDocument } from "../restart";
import { statusDocument } from "../status/schema";
import { validateDocument } from "../validate";

/** Documents that verbs print with `--json`, by verb. */
const DOCUMENTS: Record<string, { schema: z.ZodType; what: string }> = {
  status: { schema: statusDocument, what: "One document; with `--watch`, one per line." },
  events: { schema: eventLine, what: "One event per line." },
  logs: { schema: logLine, what: "One line of output per line." },
  restart: { schema: restartDocument, what: "One document." },
  doctor: { schema: doctorDocument, what: "One document." },
  recover: { schema: recoverDocument, what: "One document." },
  validate: { schema: validateDocument, what: "One document." },
  evidence: { schema: evidenceListDocument, what: "One document, for the list." },
  "agent status": { schema: agentDocument, what: "One document." },
  "agent stop": { schema: stopDocument, what: "One document." },
  "agent disown": { schema: disownDocument, what: "One document." },
};

const HEAD = `# Reference of the \`sluice\` command

<!-- Written by: node --import tsx src/cli/reference/main.ts > docs/cli.md -->

How operators use it: [Day to day](operating.md).

| exit code | meaning |
|---|---|
| ${EXIT.good} | success |
| ${EXIT.problems} | the verb worked, but found problems, or was refused |
| ${EXIT.usageError} | the command line can't be used |
| ${EXIT.unreachable} | the agent, or its host, can't be reached |
`;

/** The reference of all verbs, as Markdown: from the verbs themselves and from the schemas of what they print. */
export function reference(program: Command): string {
  return `${[HEAD, ...program.commands.flatMap((verb) => sections(verb, ""))].join("\n")}`;
}

function sections(verb: Command, prefix: string): string[] {
  const name = `${prefix}${verb.name()}`;
  if (name === "complete") return [];
  if (verb.commands.length > 0) return verb.commands.flatMap((inner) => sections(inner, `${name} `));
  const usage = verb.registeredArguments.map((argument) => {
    const text = `${argument.name()}${argument.variadic ? "..." : ""}`;
    return argument.required ? ` <${text}>` : ` [${text}]`;
  });
  const options = verb.options.map(({ flags, description, defaultValue, argChoices }) => {
    const choices = argChoices === undefined ? "" : ` (${argChoices.join(", ")})`;
    const usual = defaultValue === undefined || defaultValue === false ? "" : ` (default: ${String(defaultValue)})`;
    return `| \`${flags}\` | ${escaped(description + choices + usual)} |`;
  });
  const document = DOCUMENTS[name];
  return [
    `## sluice ${name}${usage.join("")}\n`,
    `${verb.description()}\n`,
    ...(options.length === 0 ? [] : [["| option | |", "|---|---|", ...options, ""].join("\n")]),
    ...(document === undefined ? [] : [`With \`--json\`: ${document.what}\n`, fields(document.schema)]),
  ];
}

interface Node {
  type?: string | string[];
  const?: unknown;
  description?: string;
  enum?: unknown[];
  properties?: Record<string, Node>;
  required?: string[];
  items?: Node;
  additionalProperties?: Node | boolean;
  anyOf?: Node[];
}

function fields(schema: z.ZodType): string {
  const rows = rowsOf(z.toJSONSchema(schema) as Node, "");
  return ["| field | type | |", "|---|---|---|", ...rows, ""].join("\n");
}

function rowsOf({ properties = {}, required = [] }: Node, prefix: string): string[] {
  return Object.entries(properties).flatMap(([name, node]) => {
    const path = `${prefix}${name}`;
    const optional = required.includes(name) ? "" : ", optional";
    const inner = node.items ?? node;
    return [
      `| \`${path}\` | ${escaped(typeOf(node))}${optional} | ${escaped(node.description ?? "")} |`,
      ...rowsOf(inner, node.items === undefined ? `${path}.` : `${path}[].`),
    ];
  });
}

function typeOf(node: Node): string {
  if (node.enum !== undefined) return node.enum.map((value) => `\`${String(value)}\``).join(" or ");
  if (node.items !== undefined) return `list of ${typeOf(node.items)}s`;
  if (node.anyOf !== undefined) return node.anyOf.map(typeOf).join(" or ");
  if (node.const !== undefined) return `\`${String(node.const)}\``;
  return [node.type ?? "anything"].flat().join(" or ");
}

function escaped(text: string): string {
  return text.replaceAll("|", "\\|");
}
