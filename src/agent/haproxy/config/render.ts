import { createHash } from "node:crypto";
import { isIP } from "node:net";
import { basename, dirname } from "node:path";
import type { BackendSpec } from "../../../model/edge/backend";
import { appliedEdge, type EdgeSpec } from "../../../model/edge/edge";
import { type EdgeBackend, edgeBackend } from "../../../model/pool/pool-share";
import { type RouteSpec, routeSpec } from "../../../model/route/route";
import { type Duration, milliseconds } from "../../../model/types/duration";
import { backendName, name as nameSchema } from "../../../model/types/names";
import { logFormat, MAX_LINE, METER_RING } from "../../meter/line";
import { mirrorScript } from "../../mirror/script";
import { byKey, groupByBackend, path, type ServerAssignment } from "../runtime/server-assignments";
import { connectionsWithin, type HostFacts } from "./host-facts";
import { isCopied, mirrorGlobals, scriptComment } from "./mirror";
import { endpoint, quote } from "./quote";
import { routeLines, SPLITS_FILE, splitsText } from "./routes";

/** Backend of frontends whose own does not exist (yet). Users' names hold no underscore. */
const UNAVAILABLE = "_unavailable";
/** Frontend of HAProxy's Prometheus exporter. */
const METRICS = "_metrics";
/** Time that an idle connection to a server is kept; below the 5 seconds after which Node.js closes it from its side. */
const SERVER_IDLE = "1s";
/** For HAProxy's own health check of a server, where the backend declares none. */
const TCP_CHECK_INTERVAL_MS = 2000;
/** Body of the answer while no server can answer. */
const UNAVAILABLE_BODY = '{"error":"no server can answer this request now: try again"}';
/** Size of the ring of the meter's lines, in bytes: about a second of 40,000 requests per second. */
const METER_RING_BYTES = 4 * 1024 * 1024;
/** Name of the condition that a request comes from this host. */
const FROM_THIS_HOST = "from-this-host";

export interface RenderInput {
  name: string;
  spec: EdgeSpec;
  backends: Record<string, EdgeBackend>;
  placed: readonly ServerAssignment[];
  /** Routes by name. @default none */
  routes?: Record<string, RouteSpec>;
  /** Path of the worker's runtime API. */
  socket: string;
  host: HostFacts;
  /** Path of the mirror's socket: needed where a route has a mirror or a sample. */
  mirror?: string | undefined;
  /** Digests of certificate files by path: a renewed file is a change. */
  certificates?: Record<string, string>;
}

export interface Rendered {
  /** The whole file. */
  text: string;
  /** Digest of everything that only a reload can change, which the running worker shows as its description. */
  structure: string;
  /** The map of the routes' splits, in a file of its own; undefined if it would be empty. */
  splits: string | undefined;
  /** The script that copies requests, in a file of its own; undefined if no route has a mirror or a sample. */
  script: string | undefined;
}

/** The config of an edge: the same input gives the same text. Everything is validated again, so that no caller can inject. */
export function render(input: RenderInput): Rendered {
  nameSchema.parse(input.name);
  const spec = appliedEdge.parse(input.spec);
  const backends = Object.entries(input.backends).toSorted(byKey);
  const servers = groupByBackend(input.placed);
  const routes = validRoutes(input.routes ?? {});
  const script = scriptOf(input.name, routes, input.mirror);
  const frontends = Object.entries(spec.frontends)
    .toSorted(byKey)
    .flatMap(([name, frontend], index) => [
      ...frontendLines(name, frontend, {
        backends: input.backends,
        certificates: input.certificates ?? {},
        routes,
        waiting: waitingSocket(input.socket, index),
      }),
      ...(spec.meter ? logLines(input.name) : []),
    ]);
  const sections = backends.map(([name, backend]) => ({
    lines: backendText(name, backend),
    servers: (servers.get(name) ?? []).map((server) => `${serverLine(server)}\n`).join(""),
  }));
  const ring = spec.meter ? ringLines() : [];
  const before = [...ring, ...defaultsLines(spec), ...frontends, ...metricsLines(spec), ""].join("\n");
  const splits = splitsText(routes, input.backends);
  const isMapUsed = frontends.some((line) => line.includes(`(${SPLITS_FILE},`));
  const after = [...unavailableLines(), ...(splits === undefined || isMapUsed ? [] : loadingLines()), ""].join("\n");
  const whole = (description: string, middle: string): string =>
    `${[...globalLines(input, spec, description, script), ""].join("\n")}${before}${middle}${after}`;
  const structure = digest(whole("", sections.map(({ lines }) => lines).join("")));
  const body = whole(structure, sections.map(({ lines, servers }) => lines + servers).join(""));
  return { text: `${header(input.name, body)}${body}`, structure, splits, script };
}

function validRoutes(routes: Record<string, RouteSpec>): Record<string, RouteSpec> {
  for (const [name, route] of Object.entries(routes)) {
    nameSchema.parse(name);
    routeSpec.parse(route);
  }
  return routes;
}

/**
 * Socket of a frontend that has no address yet, for the agent alone.
 *
 * @param socket path of the worker's runtime API, in the edge's folder
 * @param index of the frontend among the names in their order
 */
export function waitingSocket(socket: string, index: number): string {
  // In the spelling of that path, see socketSpellings.
  return `${dirname(socket)}/w${index}.sock`;
}

/**
 * Two spellings of a socket's path, the one in a config on disk first. A worker takes a listener over from the one before it
 * where both have the same path by its letters, and binds it anew otherwise.
 */
export function socketSpellings(path: string, disk: string | undefined): [string, string] {
  const other = `${dirname(path)}//${basename(path)}`;
  return disk?.includes(socketLine(other)) ? [other, path] : [path, other];
}

function socketLine(path: string): string {
  return `  stats socket ${quote(path)} mode 600 level admin`;
}

/** The script that copies requests, where a route has a mirror or a sample. */
function scriptOf(edge: string, routes: Record<string, RouteSpec>, socket: string | undefined): string | undefined {
  if (!isCopied(routes)) return undefined;
  if (socket === undefined)
    throw new Error(`edge ${edge} has routes that are copied, and nothing that takes the copies`);
  return mirrorScript(edge, socket);
}

/** Sections by the backend that they show: specs are never changed in place, and previews render hundreds of them at once. */
const backendTexts = new WeakMap<BackendSpec, { name: string; text: string }>();

function backendText(name: string, backend: BackendSpec): string {
  const cached = backendTexts.get(backend);
  if (cached?.name === name) return cached.text;
  const text = [...backendLines(backendName.parse(name), edgeBackend.parse(backend)), ""].join("\n");
  backendTexts.set(backend, { name, text });
  return text;
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

/** Whether a script on disk is the one that a config was written for. */
export function isScriptOf(disk: string | undefined, script: string): boolean {
  return disk?.includes(`\n${scriptComment(digest(script))}\n`) ?? false;
}

/** Short digest of a text or of a file's content. */
export function digest(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex").slice(0, 16);
}

function globalLines(
  { socket, host, routes = {}, backends }: RenderInput,
  spec: EdgeSpec,
  description: string,
  script: string | undefined,
): string[] {
  const { account } = host;
  const maxConnections = connectionsWithin(spec.maxConnections, host);
  const tls = Object.values(spec.frontends).some(({ binds }) => binds.some((bind) => bind.tls !== undefined));
  return [
    "",
    "global",
    `  description ${description || "none"}`,
    socketLine(socket),
    // The meter reads without a word of its own, also where no request comes for long.
    ...(spec.meter ? ["  stats timeout 1h"] : []),
    ...(account === undefined ? [] : [`  user ${quote(account.user)}`, `  group ${quote(account.group)}`]),
    ...(maxConnections < spec.maxConnections
      ? [`  # of ${spec.maxConnections} declared: this host limits a process to ${host.maxOpenFiles} open files`]
      : []),
    `  maxconn ${maxConnections}`,
    `  hard-stop-after ${ms(spec.hardStopAfter)}`,
    // The map of the splits is named without its folder, whose name could hold anything.
    ...(splitsText(routes, backends) === undefined ? [] : ["  default-path config"]),
    ...(script === undefined ? [] : mirrorGlobals(routes, digest(script), dirname(socket))),
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
  {
    backends,
    certificates,
    routes,
    waiting,
  }: {
    backends: Record<string, EdgeBackend>;
    certificates: Record<string, string>;
    routes: Record<string, RouteSpec>;
    waiting: string;
  },
): string[] {
  const backendFor = (backend: string) => (Object.hasOwn(backends, backend) ? backend : UNAVAILABLE);
  const bindLines = binds.flatMap((bind) => {
    if (bind.tls === undefined) return [`  bind ${endpoint(bind)}`];
    const { certificate } = bind.tls;
    const line = `  bind ${endpoint(bind)} ssl crt ${quote(certificate)} alpn h2,http/1.1`;
    return [`  # certificate ${/^[0-9a-f]+$/.exec(certificates[certificate] ?? "")?.[0] ?? "unread"}`, line];
  });
  return [
    "",
    `frontend ${name}`,
    ...(binds.length === 0 ? [`  bind ${quote(`unix@${waiting}`)} mode 600`] : bindLines),
    ...forwardingLines(binds),
    ...routeLines(name, routes, { backends, defaultBackend, backendFor }),
    `  default_backend ${backendFor(defaultBackend)}`,
  ];
}

/**
 * Headers that tell the server who asked. What the client sent of them holds only where it comes from this host, where
 * another proxy may stand in front; who listens on loopback addresses alone has no other clients.
 */
function forwardingLines(binds: EdgeSpec["frontends"][string]["binds"]): string[] {
  const tls = binds.some((bind) => bind.tls !== undefined) ? "{ ssl_fc } or " : "";
  const given = (header: string) => `{ req.fhdr(${header}) -m found }`;
  if (binds.every(({ address }) => isLoopback(address)))
    return [
      ...(tls === "" ? [] : ["  http-request set-header x-forwarded-proto https if { ssl_fc }"]),
      `  http-request set-header x-forwarded-proto http unless ${tls}${given("x-forwarded-proto")}`,
      `  http-request set-header x-request-id %[uuid()] unless ${given("x-request-id")}`,
      "  option forwardfor",
    ];
  return [
    `  acl ${FROM_THIS_HOST} src 127.0.0.0/8 ::1`,
    `  http-request del-header forwarded unless ${FROM_THIS_HOST}`,
    `  http-request del-header x-forwarded-for unless ${FROM_THIS_HOST}`,
    ...(tls === "" ? [] : ["  http-request set-header x-forwarded-proto https if { ssl_fc }"]),
    `  http-request set-header x-forwarded-proto http unless ${tls}${FROM_THIS_HOST} ${given("x-forwarded-proto")}`,
    `  http-request set-header x-request-id %[uuid()] unless ${FROM_THIS_HOST} ${given("x-request-id")}`,
    "  option forwardfor",
  ];
}

function isLoopback(address: string): boolean {
  return address.startsWith("127.") || address === "::1";
}

/**
 * The meter's lines: a ring in memory, from which the meter reads them by the runtime API. HAProxy must not send them
 * itself: in releases of before 2025, a ring's server that is away keeps a worker busy with connecting, thousands of times per second.
 */
function ringLines(): string[] {
  return ["", `ring ${METER_RING}`, "  format raw", `  maxlen ${MAX_LINE}`, `  size ${METER_RING_BYTES}`];
}

function logLines(edge: string): string[] {
  return [`  log ring@${METER_RING} len ${MAX_LINE} format raw daemon`, `  log-format ${quote(logFormat(edge))}`];
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

/** Methods that change nothing by their definition (RFC 9110, 9.2.1), so that a proxy may repeat them. */
const SAFE_RETRIES = [
  "  retry-on conn-failure empty-response",
  "  http-request disable-l7-retry unless { method GET HEAD OPTIONS }",
];

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
    ...(backend.retry === "safe" ? SAFE_RETRIES : []),
    ...check,
    `  default-server ${serverParameters(backend)}`,
  ];
}

/** Parameters that all servers of a backend share. A server added at run time gets nothing from `default-server`. */
function serverParameters({ health }: BackendSpec): string {
  const check =
    health === undefined
      ? `check inter ${TCP_CHECK_INTERVAL_MS}ms rise 2 fall 3`
      : `check inter ${ms(health.interval)} rise ${health.rise} fall ${health.fall}`;
  // HAProxy 2.6 keeps no idle connection to a server added at run time unless both are named.
  return `${check} pool-purge-delay ${SERVER_IDLE} pool-max-conn -1`;
}

/** Names of servers within HAProxy, users' with a number where it differs. */
const SERVER_ID = /^[a-z][a-z0-9-]{0,39}(\.[1-9][0-9]{0,8})?$/;

function validated(server: ServerAssignment): ServerAssignment {
  const { id, backend, address, port, weight } = server;
  const isWhole = (value: number, max: number) => Number.isInteger(value) && value >= 0 && value <= max;
  if (!SERVER_ID.test(id) || !backendName.safeParse(backend).success)
    throw new Error(`${JSON.stringify(path(server))} is not the name of a server: use declared names`);
  if (isIP(address) === 0 || !isWhole(port, 65_535) || !isWhole(weight, 256))
    throw new Error(
      `server ${path(server)} has no valid address, port and weight: ${JSON.stringify({ address, port, weight })}`,
    );
  return server;
}

function serverLine(server: ServerAssignment): string {
  const { id, address, port, weight, state } = validated(server);
  // "drain" is no word of the config: weight 0 until the state is set at run time.
  const shown = state === "drain" ? 0 : weight;
  return `  server ${id} ${endpoint({ address, port })} weight ${shown}${state === "maint" ? " disabled" : ""}`;
}

/** The commands that add a server at run time. */
export function addCommands(server: ServerAssignment, backend: BackendSpec): string[] {
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

/** Has HAProxy load the map although no request reaches a pool whose candidate has a share: it would refuse to change it. */
function loadingLines(): string[] {
  return [`  acl splits_loaded str(none),map_str_int(${SPLITS_FILE},0) -m int 0`];
}

function ms(text: Duration): string {
  return `${milliseconds(text)}ms`;
}
