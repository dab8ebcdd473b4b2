import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Cleanup } from "./agent";

/** A server of this process, on a port from the system; it ends after the test, also with open connections. */
export async function startServer(
  t: Cleanup,
  listener: RequestListener,
  { keepAliveTimeout = 60_000 } = {},
): Promise<{ port: number; server: Server }> {
  const server = createServer({ keepAliveTimeout }, listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, server };
}
