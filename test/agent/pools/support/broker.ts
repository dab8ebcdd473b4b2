import { existsSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { app, type ProcessInput } from "./agent";

const PERL = "/usr/bin/perl";
const PROGRAM = join(__dirname, "../../../fixtures/pools/broker.pl");

/** Why there can be no broker on this machine. */
export const NO_BROKER = existsSync(PERL) ? false : "needs perl: install perl-base";

/** The command that runs a program by the broker's interpreter. */
export const perl = (...parts: string[]): string[] => [PERL, ...parts];

/** A service that hands its port over, and says its release to whoever connects. */
export function broker(port: number, over: Partial<ProcessInput> = {}): ProcessInput {
  return app({}, { policy: "service", command: perl(PROGRAM, "{{ports.broker}}"), port, handoff: true, ...over });
}

/** Text that one connection to a port receives, or why there is none. */
export function ask(port: number): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    const socket = connect({ host: "127.0.0.1", port });
    socket.on("data", (chunk) => {
      text += chunk;
    });
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.on("close", () => resolve(text.trim()));
  });
}
