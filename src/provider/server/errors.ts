import { type ServiceError, status } from "@grpc/grpc-js";
import { safeText } from "../../model/types/safe-text";
import { Interrupted } from "./operations";

/** A gRPC status message travels in an HTTP/2 header, percent-encoded: a longer one would break the whole response. */
const MAX_MESSAGE_BYTES = 12_000;

/**
 * The gRPC error for what an operation threw. Its code is always one that the engine calls recoverable: `Unknown`,
 * `Internal` and `DataLoss` would make it record that the resource's state is unknown, and an operation that failed
 * has put everything back.
 */
export function grpcError(thrown: unknown, redact: (text: string) => string = (text) => text): Partial<ServiceError> {
  const code = thrown instanceof Interrupted ? status.CANCELLED : status.FAILED_PRECONDITION;
  return { code, details: shorten(safeText(redact(messageOf(thrown)), Number.POSITIVE_INFINITY)) };
}

/** An error's message, followed by those of its causes that it does not repeat. */
function messageOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const inner = thrown instanceof AggregateError ? thrown.errors : thrown.cause === undefined ? [] : [thrown.cause];
  const own = thrown.message || thrown.name;
  return inner.reduce<string>((text, cause) => {
    const more = messageOf(cause);
    return text.includes(more) ? text : `${text}: ${more}`;
  }, own);
}

function shorten(text: string): string {
  if (encodedLength(text) <= MAX_MESSAGE_BYTES) return wellFormed(text);
  let keep = Math.min(text.length >> 1, MAX_MESSAGE_BYTES >> 1);
  const ends = () => `${text.slice(0, keep)}\n[... part of the message left out ...]\n${text.slice(-keep)}`;
  while (encodedLength(ends()) > MAX_MESSAGE_BYTES) keep = Math.floor(keep * 0.9);
  return wellFormed(ends());
}

function encodedLength(text: string): number {
  return encodeURI(wellFormed(text)).length;
}

/** Half a surrogate pair, such as a cut leaves, cannot be encoded. */
function wellFormed(text: string): string {
  return Buffer.from(text).toString();
}
