import { hasControl } from "../../../model/types/names";

/**
 * A text as one word of HAProxy's config: between single quotes nothing is interpreted (no `$`, `\`, `#`), and a single
 * quote itself is written outside of them.
 *
 * @throws where the text holds a control character, which no quoting can carry: a line break ends the line
 */
export function quote(text: string): string {
  if (text === "" || hasControl(text))
    throw new Error(`${JSON.stringify(text)} cannot stand in a HAProxy config: use a text without control characters`);
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Address and port as HAProxy writes them, IPv6 in brackets. */
export function endpoint({ address, port }: { address: string; port: number }): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
