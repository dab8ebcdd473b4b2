import { createHash } from "node:crypto";
import { type BackendSpec, backendSpec } from "../../model/backend";
import { type Duration, milliseconds } from "../../model/duration";
import { type EdgeSpec, edgeSpec } from "../../model/edge";
import { name as nameSchema } from "../../model/names";
import { connectionsWithin, type HostFacts } from "./host-facts";
import { endpoint, quote } from "./quote";
import { byKey, type Placed, path } from "./servers";

/** Backend of frontends whose own does not exist (yet). Users' names hold no underscore. */
export const UNAVAILABLE = "_unavailable";
/** Frontend of HAProxy's Prometheus exporter. */
export const METRICS = "_metrics";
/** Time that an idle connection to a server is kept; below the 5 seconds after which Node.js closes it from its side. */
const SERVER_IDLE = "1s";
/** For HAProxy's own health check of a server, where the backend declares none. */
const TCP_CHECK_INTERVAL_MS = 2000;
/** What a client reads when no server can answer it. */
const UNAVAILABLE_BODY = '{"error":"no server can answer this request now: try again"}';
/** Requests come from this host, where another proxy may have set forwarding headers that hold. */
const FROM_THIS_HOST = "from-this-host";

export interface RenderInput {
  name: string;
  spec: EdgeSpec;
  backends: Record<string, BackendSpec>;
  placed: readonly Placed[];
  /** Path of the worker's runtime API. */
  socket: string;
  host: HostFacts;
  /** Digests of certificate files by path: a renewed file is a change. */
  certificates?: Record<string, string>;
}

export interface Rendered {
  /** The whole file. */
  text: string;
  /** Digest of everything that only a reload can change, which the running worker shows as its description. */
  structure: string;
}

/** The config of an edge: the same input gives the same text. Everything is validated again, so that no caller can inject. */
export function render(input: RenderInput): Rendered {
  nameSchema.parse(input.name);
  const spec = edgeSpec.parse(input.spec);
  const backends = Object.entries(input.backends)
    .toSorted(byKey)
    .map(([name, backend]) => [nameSchema.parse(name), backendSpec.parse(backend)] as const);
  const known = new Set(backends.map(([name]) => name));
  const frontends = Object.entries(spec.frontends)
    .toSorted(byKey)
    .flatMap(([name, frontend]) => frontendLines(name, frontend, known, input.certificates ?? {}));
  const section = (description: string, withServers: boolean): string =>
    [
      ...globalLines(input, spec, description),
      ...defaultsLines(spec),
      ...frontends,
      ...metricsLines(spec),
      ...backends.flatMap(([name, backend]) => [
        ...backendLines(name, backend),
        ...(withServers ? input.placed.filter((server) => server.backend === name).map(serverLine) : []),
      ]),
      ...unavailableLines(),
      "",
    ].join("\n");
  const structure = digest(section("", false));
  const body = section(structure, true);
  return { text: `${header(input.name, body)}${body}`, structure };
}

const CHECKSUM = "# checksum ";

function header(name: string, body: string): string {
  return [
    `# HAProxy config of edge "${name}", written by Sluice.`,
    "# Hand edits are overwritten at the next change: change the program that declares the edge instead.",
    `${CHECKSUM}${digest(body)}`,
    "",
  ].join("\n");
}

/** Whether a config file is as Sluice wrote it. */
export function isUntouched(text: string): boolean {
  const lines = text.split("\n");
  const index = lines.findIndex((line) => line.startsWith(CHECKSUM));
  return index === 2 && lines[index] === `${CHECKSUM}${digest(lines.slice(index + 1).join("\n"))}`;
}

/** Short digest of a text or of a file's content. */
export function digest(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex").slice(0, 16);
}

function globalLines({ socket, host }: RenderInput, spec: EdgeSpec, description: string): string[] {
  const { account } = host;
  const maxConnections = connectionsWithin(spec.maxConnections, host);
  const tls = Object.values(spec.frontends).some(({ binds }) => binds.some((bind) => bind.tls !== undefined));
  return [
    "",
    "global",
    `  description ${description || "none"}`,
    `  stats socket ${quote(socket)} mode 600 level admin`,
    ...(account === undefined ? [] : [`  user ${quote(account.user)}`, `  group ${quote(account.group)}`]),
    ...(maxConnections < spec.maxConnections
      ? [`  # of ${spec.maxConnections} declared: this host limits a process to ${host.maxOpenFiles} open files`]
      : []),
    `  maxconn ${maxConnections}`,
    `  hard-stop-after ${ms(spec.hardStopAfter)}`,
    ...(tls
      ? ["  ssl-default-bind-options ssl-min-ver TLSv1.2", "  ssl-default-bind-ciphers ECDHE+AESGCM:ECDHE+CHACHA20"]
      : []),
  ];
}

function defaultsLines({ timeouts }: EdgeSpec): string[] {
  return [
    "",
    "defaults",
    "  mode http",
    "  option http-keep-alive",
    // An old worker answers one more request of an idle connection, with "connection: close", instead of closing it
    // while the client may be sending.
    "  option idle-close-on-response",
    // A connection that a browser opened in advance is closed in silence, not with a 408 that it takes for its answer.
    "  option http-ignore-probes",
    "  http-reuse safe",
    // Only a connection that was never made is tried again, which is safe for every method; at once and on another server.
    "  option redispatch 1",
    "  retries 3",
    "  retry-on conn-failure",
    `  timeout connect ${ms(timeouts.connect)}`,
    `  timeout client ${ms(timeouts.client)}`,
    `  timeout client-fin ${ms(timeouts.client)}`,
    `  timeout server ${ms(timeouts.server)}`,
    `  timeout server-fin ${ms(timeouts.server)}`,
    `  timeout http-keep-alive ${ms(timeouts.keepAlive)}`,
    `  timeout http-request ${ms(timeouts.request)}`,
    `  timeout queue ${ms(timeouts.queue)}`,
    `  timeout tunnel ${ms(timeouts.tunnel)}`,
    `  http-error status 503 content-type application/json string ${quote(UNAVAILABLE_BODY)} hdr retry-after 1`,
  ];
}

function frontendLines(
  name: string,
  { binds, defaultBackend }: EdgeSpec["frontends"][string],
  known: ReadonlySet<string>,
  certificates: Record<string, string>,
): string[] {
  const bindLines = binds.flatMap((bind) => {
    if (bind.tls === undefined) return [`  bind ${endpoint(bind)}`];
    const { certificate } = bind.tls;
    const line = `  bind ${endpoint(bind)} ssl crt ${quote(certificate)} alpn h2,http/1.1`;
    return [`  # certificate ${/^[0-9a-f]+$/.exec(certificates[certificate] ?? "")?.[0] ?? "unread"}`, line];
  });
  return [
    "",
    `frontend ${name}`,
    ...bindLines,
    `  acl ${FROM_THIS_HOST} src 127.0.0.0/8 ::1`,
    `  http-request del-header forwarded unless ${FROM_THIS_HOST}`,
    `  http-request del-header x-forwarded-for unless ${FROM_THIS_HOST}`,
    `  http-request set-header x-forwarded-proto https if { ssl_fc }`,
    `  http-request set-header x-forwarded-proto http if !{ ssl_fc } !${FROM_THIS_HOST}`,
    `  http-request set-header x-forwarded-proto http if !{ ssl_fc } !{ req.fhdr(x-forwarded-proto) -m found }`,
    "  option forwardfor",
    `  http-request set-header x-request-id %[uuid()] unless ${FROM_THIS_HOST} { req.fhdr(x-request-id) -m found }`,
    `  default_backend ${known.has(defaultBackend) ? defaultBackend : UNAVAILABLE}`,
  ];
}

function metricsLines({ metrics }: EdgeSpec): string[] {
  if (metrics === undefined) return [];
  return [
    "",
    `frontend ${METRICS}`,
    `  bind ${endpoint(metrics)}`,
    "  http-request use-service prometheus-exporter if { path /metrics }",
    "  http-request return status 404",
  ];
}

function backendLines(name: string, backend: BackendSpec): string[] {
  const { health } = backend;
  const check =
    health === undefined
      ? []
      : [
          "  option httpchk",
          `  http-check send meth GET uri ${quote(health.path)} ver HTTP/1.1 hdr host localhost hdr user-agent haproxy-check`,
          "  http-check expect status 200-399",
          `  timeout check ${ms(health.timeout)}`,
        ];
  return [
    "",
    `backend ${name}`,
    `  balance ${backend.balance}`,
    ...check,
    `  default-server ${serverParameters(backend)}`,
  ];
}

/** What all servers of a backend have in common. A server added at run time gets nothing from `default-server`. */
export function serverParameters({ health }: BackendSpec): string {
  const check =
    health === undefined
      ? `check inter ${TCP_CHECK_INTERVAL_MS}ms rise 2 fall 3`
      : `check inter ${ms(health.interval)} rise ${health.rise} fall ${health.fall}`;
  // HAProxy 2.6 keeps no idle connection to a server added at run time unless both are named.
  return `${check} pool-purge-delay ${SERVER_IDLE} pool-max-conn -1`;
}

/** Names of servers within HAProxy, users' with a number where it differs. */
const SERVER_ID = /^[a-z][a-z0-9-]{0,39}(\.[1-9][0-9]{0,8})?$/;

function validated(server: Placed): Placed {
  const { id, backend, name, address, port, weight, state } = server;
  if (!SERVER_ID.test(id)) throw new Error(`${JSON.stringify(id)} is not the name of a server`);
  backendSpec.parse({ servers: { [name]: { address, port, weight, state } } });
  nameSchema.parse(backend);
  return server;
}

function serverLine(server: Placed): string {
  const { id, address, port, weight, state } = validated(server);
  // "drain" is no word of the config: weight 0 until the state is set at run time.
  const shown = state === "drain" ? 0 : weight;
  return `  server ${id} ${endpoint({ address, port })} weight ${shown}${state === "maint" ? " disabled" : ""}`;
}

/** The commands that add a server at run time. */
export function addCommands(server: Placed, backend: BackendSpec): string[] {
  const target = path(validated(server));
  return [
    `add server ${target} ${endpoint(server)} weight ${server.weight} ${serverParameters(backend)}`,
    `enable health ${target}`,
    `set server ${target} state ${server.state}`,
  ];
}

function unavailableLines(): string[] {
  return [
    "",
    `backend ${UNAVAILABLE}`,
    // The next try comes on a new connection, and so to the worker that knows the backend once it exists.
    `  http-request return status 503 content-type application/json string ${quote(UNAVAILABLE_BODY)} hdr retry-after 1 hdr connection close`,
  ];
}

function ms(text: Duration): string {
  return `${milliseconds(text)}ms`;
}
