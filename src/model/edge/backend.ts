import { z } from "zod";
import { duration } from "../types/duration";
import { quoteValue } from "../types/messages";
import { serverKey } from "../types/names";
import { ipAddress, isWildcard } from "./edge";

/** Path and query of a URL, as HAProxy's config and an HTTP request line can carry it. */
export const urlPath = z
  .string()
  .max(512)
  .refine((path) => /^\/[!-~]*$/.test(path) && !/["'\\#%]/.test(path.replace(/%[0-9A-Fa-f]{2}/g, "")), {
    error: (issue) =>
      `${quoteValue(issue.input)} is not a URL path: start with "/", percent-encode spaces, quotes and "#"`,
  });

/** Administrative state of a server, as HAProxy names it. */
export const serverState = z.enum(["ready", "drain", "maint"]);
export type ServerState = z.output<typeof serverState>;

/** Default weight of a server; HAProxy's range is 0 to 256. */
export const DEFAULT_WEIGHT = 100;

/** Most servers of one backend. */
export const MAX_SERVERS = 1000;

const server = z.strictObject({
  /** IP address. Change: the server is drained and added anew, live. */
  address: ipAddress.refine((address) => !isWildcard(address), {
    // HAProxy would connect to whatever address the client asked for.
    error: ({ input }) => `${quoteValue(input)} is every address of a host: write the one that the server listens on`,
  }),
  /** Port, 1 to 65535. Change: the server is drained and added anew, live. */
  port: z.int().min(1).max(65_535),
  /** Share of the traffic relative to the other servers, 0 to 256. @default 100. Change: live. */
  weight: z.int().min(0).max(256).default(DEFAULT_WEIGHT),
  /** `ready` takes traffic, `drain` only finishes what it has, `maint` takes none. @default "ready". Change: live. */
  state: serverState.default("ready"),
});
export type Server = z.output<typeof server>;

const healthCheck = z.strictObject({
  /** Path that answers 2xx or 3xx while the server may take traffic. Change: hitless reload. */
  path: urlPath,
  /** Between two checks. @default "2 seconds" */
  interval: duration({ min: "100 milliseconds", max: "1 hour" }).default("2 seconds"),
  /** For one check. @default "2 seconds" */
  timeout: duration({ min: "10 milliseconds", max: "5 minutes" }).default("2 seconds"),
  /** Good checks in a row until a server that was down takes traffic, 1 to 100. @default 2 */
  rise: z.int().min(1).max(100).default(2),
  /** Bad checks in a row until a server takes none, 1 to 100. @default 3 */
  fall: z.int().min(1).max(100).default(3),
});

/**
 * Requests that a backend sends again, at once and to another server: those that no connection could be made for
 * (`connection`, which is safe for all of them); or also GET, HEAD and OPTIONS requests whose server closed the
 * connection without one byte of an answer, as one that crashes does (`safe`). Never what goes to a candidate: gates
 * must see its failures.
 */
export const retry = z.enum(["connection", "safe"]);

/** A HAProxy backend with its servers. Servers are added, drained and removed live; all else is applied by a hitless reload. */
export const backendSpec = z.strictObject({
  /** How a server is chosen. @default "roundrobin" */
  balance: z.enum(["roundrobin", "leastconn", "random"]).default("roundrobin"),
  /** Requests that are sent again to another server, see {@link retry}. @default "connection" */
  retry: retry.default("connection"),
  /** HAProxy's own health check of each server. @default a TCP connection every 2 seconds */
  health: healthCheck.optional(),
  /** Servers by name, 0 to 1000. */
  servers: z
    .record(serverKey, server)
    .refine((servers) => Object.keys(servers).length <= MAX_SERVERS, {
      error: ({ input }) => `has ${Object.keys(input as object).length} servers: declare at most ${MAX_SERVERS}`,
    })
    .default({}),
  /** Time that a server which leaves has to finish its requests and WebSockets. @default "1 minute" */
  drainDeadline: duration({ min: "0 seconds", max: "7 days" }).default("1 minute"),
});
export type BackendSpec = z.output<typeof backendSpec>;
export type BackendInput = z.input<typeof backendSpec>;
