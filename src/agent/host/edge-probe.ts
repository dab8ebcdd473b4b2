import { request as plain } from "node:http";
import { request as overTls } from "node:https";
import { isWildcard } from "../../model/edge/edge";
import type { Desired } from "../state/desired";

/** For one request through an edge, in milliseconds. */
const TIMEOUT_MS = 2000;

export interface EdgeProbe {
  path?: string | undefined;
  host?: string | undefined;
}

/**
 * Sends one GET through an edge's own listener, at the frontend whose default backend is meant where there is one. Answers
 * what came back, in words: who answered is for HAProxy's own counters to tell.
 */
export function probeThrough(
  { edges, backends }: Desired,
  edge: string,
  backend: string,
  { path, host = "localhost" }: EdgeProbe,
  signal: AbortSignal,
): Promise<string> {
  const frontends = Object.values(edges[edge]?.frontends ?? {});
  const frontend = frontends.find(({ defaultBackend }) => defaultBackend === backend) ?? frontends[0];
  const bind = frontend?.binds.find(({ tls }) => tls === undefined) ?? frontend?.binds[0];
  if (bind === undefined) return Promise.resolve("not sent, since the edge has no listener");
  const url = path ?? backends[`${edge}/${backend}`]?.health?.path ?? "/";
  const address = isWildcard(bind.address) ? (bind.address.includes(":") ? "::1" : "127.0.0.1") : bind.address;
  const options = {
    host: address,
    port: bind.port,
    path: url,
    agent: false,
    signal,
    timeout: TIMEOUT_MS,
    headers: { host, "user-agent": "sluice-probe" },
  };
  return new Promise((resolve) => {
    const call =
      // It is this host's own HAProxy, whose certificate is for other names.
      bind.tls === undefined ? plain(options) : overTls({ ...options, rejectUnauthorized: false, servername: host });
    call.on("response", (response) => {
      response.resume();
      response.on("close", () => resolve(`GET ${url}, answered ${response.statusCode}`));
    });
    call.on("timeout", () => call.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)));
    call.on("error", (error) => resolve(`GET ${url}, failed: ${error.message}`));
    // Node.js closes a connection that switches to another protocol, and tells nobody.
    call.on("close", () => resolve(`GET ${url}, got no answer before the connection was closed`));
    call.end();
  });
}
