import { z } from "zod";
import { duration } from "./duration";
import { absolutePath, name } from "./names";

const port = z.int().min(1).max(65_535);

/** An IPv4 or IPv6 address. Host names are refused: what HAProxy listens on or connects to must not depend on a resolver. */
export const ipAddress = z.union([z.ipv4(), z.ipv6()], {
  error: (issue) => `${JSON.stringify(issue.input)} is not an IP address: write it in numbers, such as "127.0.0.1"`,
});

const bind = z.strictObject({
  /** Address to listen on. @default "127.0.0.1". Change: hitless reload. */
  address: ipAddress.default("127.0.0.1"),
  /** Port to listen on, 1 to 65535. Change: hitless reload. */
  port,
  /** Serve TLS with this PEM file (certificate chain and private key) on the host. @default plain HTTP. Change: hitless reload. */
  tls: z.strictObject({ certificate: absolutePath }).optional(),
});

const frontend = z.strictObject({
  /** Addresses that this frontend listens on, 1 to 16. Change: hitless reload. */
  binds: z.array(bind).min(1).max(16),
  /** Backend that takes the requests. Until it exists, requests are answered with 503. Change: hitless reload. */
  defaultBackend: name,
});

const timeouts = z.strictObject({
  /** To connect to a server. @default "5 seconds" */
  connect: duration({ min: "10 milliseconds", max: "5 minutes" }).default("5 seconds"),
  /** A client's silence inside a request. @default "1 minute" */
  client: duration({ min: "100 milliseconds", max: "1 day" }).default("1 minute"),
  /** A server's silence inside a response. @default "1 minute" */
  server: duration({ min: "100 milliseconds", max: "1 day" }).default("1 minute"),
  /** An idle keep-alive connection. It bounds how long a reload's old worker still waits for a next request. @default "10 seconds" */
  keepAlive: duration({ min: "100 milliseconds", max: "1 hour" }).default("10 seconds"),
  /** To receive a request's head. @default "10 seconds" */
  request: duration({ min: "100 milliseconds", max: "5 minutes" }).default("10 seconds"),
  /** To wait for a free server. @default "30 seconds" */
  queue: duration({ min: "10 milliseconds", max: "5 minutes" }).default("30 seconds"),
  /** Silence on a WebSocket or other tunnel. @default "1 hour" */
  tunnel: duration({ min: "1 second", max: "7 days" }).default("1 hour"),
});

/** A HAProxy instance: what an `Edge` resource declares and an agent runs. Every change is applied by a hitless reload. */
export const edgeSpec = z.strictObject({
  /** Frontends by name, at least one. */
  frontends: z
    .record(name, frontend)
    .refine((frontends) => Object.keys(frontends).length > 0, "declare at least one frontend"),
  timeouts: timeouts.prefault({}),
  /** Connections that HAProxy accepts at once, 10 to 1,000,000. @default 4000 */
  maxConnections: z.int().min(10).max(1_000_000).default(4000),
  /** Time after a reload until the old worker closes the connections that are left (WebSockets, long responses). @default "1 hour" */
  hardStopAfter: duration({ min: "1 second", max: "7 days" }).default("1 hour"),
  /** HAProxy's own Prometheus exporter at `/metrics`. @default none: no extra listener */
  metrics: z.strictObject({ address: ipAddress.default("127.0.0.1"), port }).optional(),
});
export type EdgeSpec = z.output<typeof edgeSpec>;
export type EdgeInput = z.input<typeof edgeSpec>;

/** Addresses that an edge listens on, as `address:port`. */
export function listensOn(spec: EdgeSpec): { address: string; port: number; path: string }[] {
  const binds = Object.entries(spec.frontends).flatMap(([frontendName, { binds }]) =>
    binds.map(({ address, port }, index) => ({ address, port, path: `frontends.${frontendName}.binds[${index}]` })),
  );
  return spec.metrics === undefined ? binds : [...binds, { ...spec.metrics, path: "metrics" }];
}

/** Whether two listeners would collide: the same port on the same address, or one of them on all addresses. */
export function collide(a: { address: string; port: number }, b: { address: string; port: number }): boolean {
  return a.port === b.port && (a.address === b.address || isWildcard(a.address) || isWildcard(b.address));
}

function isWildcard(address: string): boolean {
  return address === "0.0.0.0" || /^[0:]+$/.test(address);
}
