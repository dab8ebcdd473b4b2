import { z } from "zod";
import { takeover } from "../process/takeover";
import { duration } from "../types/duration";
import { quoteValue } from "../types/messages";
import { absolutePath, name } from "../types/names";

const port = z.int().min(1).max(65_535);

/** An IPv4 or IPv6 address. Host names are refused: what HAProxy listens on or connects to must not depend on a resolver. */
export const ipAddress = z.union([z.ipv4(), z.ipv6()], {
  error: (issue) => `${quoteValue(issue.input)} is not an IP address: write it in numbers, such as "127.0.0.1"`,
});

/** Declares that every network may reach a listener: without it, policies refuse one on all addresses of the host. @default false */
const declaredPublic = z.boolean().optional();

const bind = z.strictObject({
  /** Address to listen on. @default "127.0.0.1". Change: hitless reload. */
  address: ipAddress.default("127.0.0.1"),
  /** Port to listen on, 1 to 65535. Change: hitless reload. */
  port,
  /** Serve TLS with this PEM file (certificate chain and private key) on the host; a renewed file is loaded by the next update. @default plain HTTP. Change: hitless reload. */
  tls: z.strictObject({ certificate: absolutePath }).optional(),
  /** See {@link declaredPublic}. Change: nothing. */
  public: declaredPublic,
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
export const edgeSpec = z
  .strictObject({
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
    metrics: z.strictObject({ address: ipAddress.default("127.0.0.1"), port, public: declaredPublic }).optional(),
    /** Count requests by status and latency, per server, release and route: gates judge by it. @default false: HAProxy writes a log line per request for it. Change: hitless reload. */
    meter: z.boolean().default(false),
    /**
     * Existing processes, started without Sluice, that have the edge's ports. The edge listens once every frontend's
     * backend has a server, and they end at that moment; a change that fails gives the ports back. @default none.
     * Change: at the next change of the edge.
     */
    takeover: takeover.optional(),
  })
  .superRefine((spec, context) => {
    const earlier = new Map<number, Map<string, Listener>>();
    for (const listener of listensOn(spec)) {
      const address = canonical(listener.address);
      const samePort = earlier.get(listener.port) ?? new Map<string, Listener>();
      const twin = overlapping(samePort, address);
      if (!samePort.has(address)) samePort.set(address, listener);
      earlier.set(listener.port, samePort);
      if (twin === undefined) continue;
      const message = `${hostPort(listener.address, listener.port)} is declared twice (also at ${twin.path}): use another port`;
      context.addIssue({ code: "custom", path: listener.at, message });
    }
  });
export type EdgeSpec = z.output<typeof edgeSpec>;

/** An edge as its HAProxy has it: a frontend whose addresses somebody else still has may listen on none of them. */
export const appliedEdge = z.strictObject({
  ...edgeSpec.shape,
  frontends: z.record(name, frontend.extend({ binds: z.array(bind).max(16) })),
});

/** An edge without some of its addresses. */
export function withoutListeners(spec: EdgeSpec, isLeftOut: (listener: Listener) => boolean): EdgeSpec {
  const leftOut = new Set(
    listensOn(spec)
      .filter(isLeftOut)
      .map(({ path }) => path),
  );
  const frontends = Object.entries(spec.frontends).map(([frontendName, frontend]) => [
    frontendName,
    {
      ...frontend,
      binds: frontend.binds.filter((_, index) => !leftOut.has(`frontends.${frontendName}.binds[${index}]`)),
    },
  ]);
  const { metrics, ...rest } = spec;
  return {
    ...rest,
    frontends: Object.fromEntries(frontends),
    ...(metrics === undefined || leftOut.has("metrics") ? {} : { metrics }),
  };
}
export type EdgeInput = z.input<typeof edgeSpec>;

/** Addresses on which an edge listens, each with the property that declares it: as text, and as keys. */
export interface Listener {
  address: string;
  port: number;
  path: string;
  at: (string | number)[];
}

/** Every address that an edge listens on. */
export function listensOn({ frontends, metrics }: Pick<EdgeSpec, "frontends" | "metrics">): Listener[] {
  const binds = Object.entries(frontends).flatMap(([frontendName, { binds }]) =>
    binds.map(({ address, port }, index) => ({
      address,
      port,
      path: `frontends.${frontendName}.binds[${index}]`,
      at: ["frontends", frontendName, "binds", index],
    })),
  );
  return metrics === undefined ? binds : [...binds, { ...metrics, path: "metrics", at: ["metrics"] }];
}

/**
 * Whether two listeners would collide: the same port on the same address, however it is written, or one of them on all
 * addresses. `::` is taken as all IPv4 addresses too, as Linux has it by default.
 */
export function collide(a: { address: string; port: number }, b: { address: string; port: number }): boolean {
  if (a.port !== b.port) return false;
  return overlap(canonical(a.address), canonical(b.address));
}

/** Whether two addresses in their canonical form are the same, or one of them includes the other. */
function overlap(one: string, other: string): boolean {
  if (one === other || one === "::" || other === "::") return true;
  return (one === ANY_IPV4 && !other.includes(":")) || (other === ANY_IPV4 && !one.includes(":"));
}

/** The entry of a map by canonical address that overlaps with an address. Ordinary ones are looked up, as there may be thousands. */
function overlapping<T>(byAddress: ReadonlyMap<string, T>, address: string): T | undefined {
  const same = byAddress.get(address);
  if (same !== undefined) return same;
  const others = isWildcard(address) ? byAddress.keys() : ["::", ANY_IPV4];
  for (const other of others) if (byAddress.has(other) && overlap(other, address)) return byAddress.get(other);
  return undefined;
}

const ANY_IPV4 = "0.0.0.0";

/** Whether an address means every address of the host, however it is written. */
export function isWildcard(address: string): boolean {
  return ["::", ANY_IPV4].includes(canonical(address));
}

/** The one way to write an address: IPv6 shortened and in lower case, an IPv4 address inside IPv6 as IPv4. */
function canonical(address: string): string {
  if (!address.includes(":")) return address;
  const short = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(short);
  if (mapped === null) return short;
  const bits = [mapped[1], mapped[2]].map((group) => Number.parseInt(group ?? "0", 16));
  return bits.flatMap((group) => [group >> 8, group & 0xff]).join(".");
}

/** `address:port`, with an IPv6 address in brackets. */
export function hostPort(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
