import { request } from "node:http";
import { connect } from "node:net";

/** Result of one probe: nothing when it was good, else why it was not. */
export type ProbeResult = string | undefined;

/** One HTTP probe of the loopback address: 2xx within `ms` milliseconds is healthy. */
export function probe(
  port: number,
  { path, ms }: { path: string; ms: number },
  signal: AbortSignal,
): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const call = request({
      host: "127.0.0.1",
      port,
      path,
      agent: false,
      headers: { "user-agent": "sluice-health" },
      signal,
    });
    const timer = setTimeout(() => call.destroy(new Error(`no answer within ${ms} ms`)), ms);
    const finish = (result: ProbeResult) => {
      clearTimeout(timer);
      resolve(result);
    };
    call.on("response", (response) => {
      response.resume();
      const status = response.statusCode ?? 0;
      response.on("end", () => finish(status >= 200 && status < 300 ? undefined : `GET ${path} answered ${status}`));
      response.on("error", (error) => finish(error.message));
    });
    call.on("error", (error) => finish(error.message));
    // Node.js closes a connection that switches to another protocol, and tells nobody.
    call.on("close", () => finish(`GET ${path} got no answer before the connection was closed`));
    call.end();
  });
}

/** One connection to a port of the loopback address within `ms` milliseconds. */
export function probePort(port: number, ms: number, signal: AbortSignal): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port, signal });
    const finish = (result: ProbeResult) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(() => finish(`port ${port} took no connection within ${ms} ms`), ms);
    socket.once("connect", () => finish(undefined));
    socket.once("error", (error) => finish(error.message));
  });
}
