import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { codeOf } from "../../../model/types/errors";

/** For one exchange on a socket of HAProxy, in milliseconds. */
const EXCHANGE_DEADLINE_MS = 5000;
/** How long a socket may refuse: the master does while it re-executes itself for a reload (measured: up to 400 ms). */
const REFUSAL_DEADLINE_MS = 3000;
const REFUSAL_PAUSE_MS = 10;

/** Sends one line to a socket of HAProxy and resolves with everything that it answers. */
function exchange(socketPath: string, line: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    // The master's socket waits for more commands until it sees the end of input.
    const socket = connect({ path: socketPath, allowHalfOpen: true }, () => socket.end(`${line}\n`));
    socket.setTimeout(EXCHANGE_DEADLINE_MS, () => {
      socket.destroy(
        new Error(`HAProxy did not answer on ${socketPath} within ${EXCHANGE_DEADLINE_MS} ms: is it stopped?`),
      );
    });
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.on("error", reject);
    socket.on("end", () => resolve(Buffer.concat(chunks).toString("utf8")));
  });
}

/**
 * One line of commands for HAProxy's runtime API (joined by `; `), and the raw answer.
 *
 * @param retry while nothing listens, for callers that know that HAProxy runs. @default false
 * @throws the socket's own error (ENOENT, ECONNREFUSED: nothing listens there)
 */
export async function ask(socketPath: string, line: string, { retry = false } = {}): Promise<string> {
  const giveUpAt = performance.now() + REFUSAL_DEADLINE_MS;
  for (;;) {
    try {
      return await exchange(socketPath, line);
    } catch (error) {
      const refused = isRefusal(error);
      if (!retry || !refused || performance.now() > giveUpAt) throw error;
      await sleep(REFUSAL_PAUSE_MS);
    }
  }
}

/** Whether an error says that nothing listens on the socket. */
export function isRefusal(error: unknown): boolean {
  const code = codeOf(error);
  return code === "ECONNREFUSED" || code === "ENOENT" || code === "ECONNRESET" || code === "EPIPE";
}

/** Answers of commands that did what they should; every other text is HAProxy's complaint. */
const GOOD =
  /^(New server registered\.|Server deleted\.|IP changed from .*|no need to change .*|port changed from .*)?$/;

/** Runs commands that change something, in order. Throws HAProxy's own words where it refuses one. */
export async function change(socketPath: string, commands: readonly string[]): Promise<void> {
  const answer = await ask(socketPath, commands.join("; "));
  const complaints = answer.split("\n").filter((line) => !GOOD.test(line.trim()));
  if (complaints.length > 0)
    throw new Error(`HAProxy refused "${commands.join("; ")}": ${complaints.join(" ").trim()}`);
}
