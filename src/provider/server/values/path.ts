/** A property path: object keys are strings, array positions are numbers. */
export type Path = readonly (string | number)[];

const PLAIN_NAME = /^[A-Za-z_$][\w$]*$/;

/** Renders a path in Pulumi's notation: `processes.web.command[2]`, `env["a.b"]`. */
export function renderPath(path: Path): string {
  let text = "";
  for (const element of path) {
    if (typeof element === "number") text += `[${element}]`;
    else if (!PLAIN_NAME.test(element)) text += `["${element.replaceAll('"', '\\"')}"]`;
    else text += text === "" ? element : `.${element}`;
  }
  return text;
}

/**
 * Parses Pulumi's property path notation, as the engine's own `resource.ParsePropertyPath` does.
 * `[*]` and `["*"]` give the wildcard `"*"`.
 * @throws Error naming the path and what is wrong with it
 */
export function parsePath(text: string): Path {
  const elements: (string | number)[] = [];
  let at = 0;
  const refuse = (reason: string): never => {
    throw new Error(`property path ${JSON.stringify(text)} cannot be read: ${reason}`);
  };
  if (text.startsWith(".")) refuse("it must start with a name or an index");
  while (at < text.length) {
    if (text[at] === ".") {
      at += 1;
      if (at === text.length) refuse("it must end with a name or an index");
    } else if (text[at] === "[") {
      const [element, next] = text[at + 1] === '"' ? quotedKey(text, at, refuse) : index(text, at, refuse);
      elements.push(element);
      at = next;
    } else {
      const rest = text.slice(at).search(/[.[]/);
      const end = rest < 0 ? text.length : at + rest;
      elements.push(text.slice(at, end));
      at = end;
    }
  }
  return elements;
}

function quotedKey(text: string, at: number, refuse: (reason: string) => never): [string, number] {
  let key = "";
  let i = at + 2;
  for (; text[i] !== '"'; i += 1) {
    if (i >= text.length) refuse("a quoted key has no closing quote");
    if (text[i] === "\\" && text[i + 1] === '"') i += 1;
    key += text[i];
  }
  if (text[i + 1] !== "]") refuse("a quoted key has no closing bracket");
  return [key, i + 2];
}

function index(text: string, at: number, refuse: (reason: string) => never): [string | number, number] {
  const end = text.indexOf("]", at);
  if (end < 0) refuse("an array index has no closing bracket");
  const segment = text.slice(at + 1, end);
  if (segment !== "*" && !/^\d+$/.test(segment)) refuse(`${JSON.stringify(segment)} is not an array index`);
  return [segment === "*" ? "*" : Number(segment), end + 1];
}

/** Whether `outer` names `inner` or a property that holds it; the element `"*"` of `outer` matches any element. */
export function contains(outer: Path, inner: Path): boolean {
  return outer.length <= inner.length && outer.every((element, i) => element === "*" || element === inner[i]);
}

/** The value at `path`, or undefined where the path leads nowhere. */
export function getAt(root: unknown, path: Path): unknown {
  let value = root;
  for (const element of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, element)) return undefined;
    value = (value as Record<string | number, unknown>)[element];
  }
  return value;
}
