import { Buffer, isUtf8 } from "node:buffer";
import { type Json, JsonError, parseJson } from "../../model/parity/json";
import { pointAt } from "../../model/parity/pointer";
import { clipText } from "./clip";
import type { ParitySide } from "./target";

/** Why a request could not be compared. */
export const ERROR_KINDS = [
  "broken-line",
  "unmapped",
  "not-ready",
  "timeout",
  "status",
  "unreachable",
  "too-large",
  "not-json",
  "no-data",
] as const;
export type ErrorKind = (typeof ERROR_KINDS)[number];

export interface ParityError {
  kind: ErrorKind;
  /** Absent where it is the request's own. */
  side?: ParitySide;
  message: string;
}

/** An HTTP answer, read to its end. */
export interface Answer {
  status: number;
  body: Uint8Array;
}

const NOT_READY_STATUS = 503;
/** A larger refusal is a page for people. */
const MAX_REFUSAL = 64 * 1024;

/**
 * The document in an answer, or why there is none.
 *
 * "Not ready" is what a system answers that is not there yet, and has it counted apart from failures: status 503; or, at
 * any status, a JSON object with `"ready": false`, or whose `status`, `state`, `code` or `error` is `not_ready`
 * (`not-ready`, `NotReady`, ...).
 */
export function readAnswer({ status, body }: Answer): { document: Json } | { kind: ErrorKind; message: string } {
  if (status === NOT_READY_STATUS) return { kind: "not-ready", message: "answered 503" };
  const ok = status >= 200 && status < 300;
  const read = ok || body.length <= MAX_REFUSAL ? parseBody(body) : undefined;
  const document = read !== undefined && "document" in read ? read.document : undefined;
  if (document !== undefined && saysNotReady(document))
    return { kind: "not-ready", message: `answered ${status} with a body that says that it is not ready` };
  if (!ok) {
    const redirect = status >= 300 && status < 400 ? " (redirects are not followed)" : "";
    return { kind: "status", message: `answered ${status}${redirect}` };
  }
  if (read === undefined || "problem" in read) return { kind: "not-json", message: read?.problem ?? "is not JSON" };
  return read;
}

/** The data to compare in a document, or why there is none. */
export function dataOf(
  document: Json,
  pointer: readonly string[],
): { data: Json } | { kind: ErrorKind; message: string } {
  const data = pointAt(document, pointer);
  if (data !== undefined) return { data };
  const path = pointer.map((part) => `/${part}`).join("");
  return { kind: "no-data", message: clipText(`the answer has nothing at ${path}: look at --pointer`) };
}

function parseBody(body: Uint8Array): { document: Json } | { problem: string } {
  if (!isUtf8(body)) return { problem: "the answer is not UTF-8" };
  try {
    return { document: parseJson(Buffer.from(body.buffer, body.byteOffset, body.length).toString("utf8")) };
  } catch (error) {
    if (error instanceof JsonError) return { problem: `the answer ${error.message}` };
    throw error;
  }
}

const STATES = ["status", "state", "code", "error"];

function saysNotReady(document: Json): boolean {
  if (typeof document !== "object" || document === null || Array.isArray(document)) return false;
  if (Object.hasOwn(document, "ready") && document.ready === false) return true;
  return STATES.some((name) => {
    const value = Object.hasOwn(document, name) ? document[name] : undefined;
    return typeof value === "string" && value.length < 20 && /^not[-_ ]?ready$/i.test(value);
  });
}
