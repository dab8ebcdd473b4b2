import type { IncomingMessage, ServerResponse } from "node:http";
import { z } from "zod";
import { issueMessage } from "../../model/types/messages";
import type { Events } from "../events/events";
import type { Evidence } from "../evidence/evidence";
import type { Host } from "../host/host";
import type { Meter } from "../meter/meter";
import type { Mirror } from "../mirror/mirror";
import type { DoctorSource } from "../operator/doctor";
import type { OutputSource } from "../operator/output";
import type { Transactions } from "../transactions/transactions";
import type { About } from "./answers";
import { ApiError } from "./api-error";

export interface ServerParts {
  host: Host;
  transactions: Transactions;
  evidence: Evidence;
  meter: Meter;
  mirror: Mirror;
  events: Events;
  output: OutputSource;
  operator: DoctorSource;
  /** Facts about the agent itself. */
  about: () => About;
  /** Problems of the agent's state folder now. */
  folderProblems: () => Promise<string[]>;
  /** Reads the agent's options anew, and takes those that need no restart. */
  reload: () => Promise<object>;
  /** Ends the agent; with `restart`, its guard starts the version that is installed now. */
  shutdown: (restart: boolean) => void;
}

export interface Call {
  parts: ServerParts;
  params: string[];
  body: unknown;
  request: IncomingMessage;
  response: ServerResponse;
}

export type Handler = (call: Call) => Promise<unknown>;

/** Returned by a handler that answers by itself. */
export const ANSWERED = Symbol("answered");

export function parse<T>(schema: z.ZodType<T>, body: unknown): T {
  const result = schema.safeParse(body, { error: issueMessage });
  if (result.success) return result.data;
  throw new ApiError(400, "invalid", z.prettifyError(result.error), {
    problems: result.error.issues.map(({ path, message }) => ({ path: path.join("."), message })),
  });
}

/** The body as it comes. A handler that refuses it leaves the rest to be read and dropped, so that the client can read why. */
export function bodyOf(request: IncomingMessage): AsyncIterable<Buffer> {
  return request.iterator({ destroyOnReturn: false });
}

export function queryOf(request: IncomingMessage): Record<string, string> {
  return Object.fromEntries(new URL(request.url ?? "", "http://agent").searchParams);
}
