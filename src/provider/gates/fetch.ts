import { codeOf } from "../../model/types/errors";

/** Longest answer that is read, in characters. */
const MAX_ANSWER = 4 * 1024 * 1024;

export interface HttpAnswer {
  status: number;
  type: string;
  text: string;
}

/**
 * Gets a URL, whatever the status. Rejects where there is no answer, in words that say why.
 *
 * @param server name of the server in messages. @default the URL
 */
export async function get(url: string, signal: AbortSignal, server = withoutPassword(url)): Promise<HttpAnswer> {
  try {
    const response = await fetch(url, { signal, redirect: "follow", headers: { "user-agent": "sluice-gate" } });
    const reader = response.body?.getReader();
    const chunks: Uint8Array[] = [];
    let size = 0;
    for (let part = await reader?.read(); part !== undefined && !part.done; part = await reader?.read()) {
      size += part.value.length;
      if (size > MAX_ANSWER) throw new Error(`its answer is longer than ${MAX_ANSWER} bytes`);
      chunks.push(part.value);
    }
    const text = Buffer.concat(chunks).toString("utf8");
    return { status: response.status, type: response.headers.get("content-type") ?? "", text };
  } catch (error) {
    signal.throwIfAborted();
    const { message, cause } = error as Error;
    const why = cause instanceof Error ? cause.message || codeOf(cause) : message;
    throw new Error(`${server} did not answer: ${why}`, { cause: error });
  }
}

/** A URL as messages show it. */
export function withoutPassword(url: string): string {
  const parsed = new URL(url);
  parsed.password = parsed.password === "" ? "" : "***";
  return parsed.href;
}
