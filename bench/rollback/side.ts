import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { freePorts } from "../../test/support/ports";
import { answers, start } from "../support/processes";
import type { Scope } from "../support/scope";

/** One way to take traffic off a candidate that turns out to be bad. */
export interface Side {
  name: string;
  /** Target of the load. */
  url: string;
  /** Gives half of the requests to a candidate, and watches it. Resolves once it is watched. */
  promote(release: string): Promise<Promotion>;
}

interface Promotion {
  /** Resolves when all is put back, once the probe turned red. */
  rolledBack: Promise<void>;
}

/** Between two probes; the same for both sides. */
export const PROBE_INTERVAL_MS = 100;
export const STABLE = "stable";

/** Starts the small app as a release; resolves with its port once it answers. */
export async function startApp(scope: Scope, release: string): Promise<number> {
  const port = await freePorts(1);
  const app = start(scope, [process.execPath, join(__dirname, "..", "switch", "app.mjs"), String(port), release]);
  await answers(`http://127.0.0.1:${port}/`, `release ${release}`, app.errors);
  return port;
}

/** The endpoint that both sides probe: green or red, as the benchmark wants it. */
export interface Health {
  url: string;
  set(good: boolean): void;
  /** When the first probe since then was told that it is red, in milliseconds since the epoch. */
  redAt(): number | undefined;
}

export async function startHealth(scope: Scope): Promise<Health> {
  let status = 200;
  let redAt: number | undefined;
  const server = createServer((_request, response) => {
    response.writeHead(status).end();
    if (status !== 200) redAt ??= Date.now();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  scope.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    set: (good) => {
      status = good ? 200 : 500;
      redAt = undefined;
    },
    redAt: () => redAt,
  };
}
