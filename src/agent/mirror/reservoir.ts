import { isSecretName } from "../../model/parity/redact";
import { requestPath } from "../../model/parity/request";
import type { Copy } from "./messages";

/** Time after which new requests get the chances of the first ones again, so that a sample does not grow old. */
const EPOCH_MS = 3_600_000;
/** Longer paths are not kept: so a sample takes at most some 20 MiB. */
const MAX_PATH = 2048;
const MAX_HEADER = 256;
/** Headers that a sample keeps: what decides on the form of an answer, and nothing of who asked. */
const KEPT_HEADERS = new Set(["accept", "accept-language", "content-type"]);
const REDACTED = "redacted";
const JWT = /eyJ[\w-]+\.[\w-]+\.[\w-]*/;
/** A parameter's value that is a token by its looks: long and without words. */
const TOKEN = /^[A-Za-z0-9+/_=-]{32,}$/;

/** One line of `requests.jsonl`, in the general form that `sluice parity` reads. */
export interface SampledRequest {
  method: "GET";
  path: string;
  headers: Record<string, string>;
}

/** A sample of requests in which each of the last hours' has about the same chance to be, whatever their number. */
export class Reservoir {
  private readonly kept: SampledRequest[] = [];
  private seen = 0;
  private epoch = 0;

  constructor(private size: number) {}

  resize(size: number): void {
    this.size = size;
    this.kept.length = Math.min(this.kept.length, size);
  }

  /** @param now in milliseconds since the epoch @param draw from 0 up to, not including, 1 */
  add(copy: Copy, now: number, draw: () => number): void {
    const request = withoutSecrets(copy);
    if (request === undefined) return;
    if (now - this.epoch > EPOCH_MS) {
      this.epoch = now;
      this.seen = this.kept.length;
    }
    this.seen++;
    if (this.kept.length < this.size) {
      this.kept.push(request);
      return;
    }
    const index = Math.floor(draw() * this.seen);
    if (index < this.size) this.kept[index] = request;
  }

  requests(): readonly SampledRequest[] {
    return this.kept;
  }
}

/** The parts of a request that may be kept; undefined if it can't be replayed. */
export function withoutSecrets({ method, path, headers }: Copy): SampledRequest | undefined {
  if (method !== "GET" || path.length > MAX_PATH || !requestPath.safeParse(path).success) return undefined;
  // Without its secret, a path would be another one.
  const [index = ""] = splitOnce(path, "?");
  if (JWT.test(index) || index.split(/[/;]/).some((part) => part.includes("=") && isSecretPair(part))) return undefined;
  const kept = headers.filter(([name, value]) => KEPT_HEADERS.has(name) && value.length <= MAX_HEADER);
  return { method, path: redactedPath(path), headers: Object.fromEntries(kept) };
}

/** The path with the values of those parameters hidden that are secrets, by their name or by their looks. */
export function redactedPath(path: string): string {
  const [before = "", query] = splitOnce(path, "?");
  if (query === undefined) return before;
  const parts = query.split("&").map((part) => {
    const [name, value] = splitOnce(part, "=");
    if (value === undefined) return isToken(part) ? REDACTED : part;
    return isSecretPair(part) ? `${name}=${REDACTED}` : part;
  });
  return `${before}?${parts.join("&")}`;
}

function isSecretPair(pair: string): boolean {
  const [name, value = ""] = splitOnce(pair, "=");
  return isSecretName(decoded(name)) || isToken(value);
}

function isToken(value: string): boolean {
  const text = decoded(value);
  return TOKEN.test(text) || JWT.test(text);
}

function splitOnce(text: string, at: string): [string, string | undefined] {
  const index = text.indexOf(at);
  return index < 0 ? [text, undefined] : [text.slice(0, index), text.slice(index + 1)];
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return text;
    throw error;
  }
}
