import { rename } from "node:fs/promises";
import { createConnection, createServer, type Socket } from "node:net";

/** Requests that an agent does not answer any more. */
interface Kept {
  request: RegExp;
  /** A target whose next transaction it must come after. @default none: the next such request */
  target?: string;
}

/** The commit of a target's next transaction. */
export function commitOf(target: string): Kept {
  return { request: /^POST \/v1\/transactions\/[^/ ]+\/commit /, target };
}

/** Last request of an `Agent` resource: from then on the agent knows that it is declared, or is so no more. */
export const DECLARATION: Kept = { request: /^POST \/v1\/declarers / };

export interface KeptBack {
  /** Resolves once the agent has done it, and nobody has been told. */
  done: Promise<void>;
  /** Lets everything through again. */
  end(): Promise<void>;
}

/**
 * Stands between an agent and its users, and keeps back one answer, such as that to a commit: the moment in which the agent has
 * done what the engine does not know yet.
 */
export async function keepBack(socket: string, { request, target }: Kept): Promise<KeptBack> {
  const real = `${socket}.real`;
  await rename(socket, real);
  const open = new Set<Socket>();
  let armed = target === undefined;
  let resolveDone: () => void = () => undefined;
  const done = new Promise<void>((resolve) => {
    resolveDone = resolve;
  });
  const server = createServer((user) => {
    const agent = createConnection(real);
    let keeps = false;
    for (const [end, other] of [
      [user, agent],
      [agent, user],
    ] as const) {
      open.add(end);
      end.on("error", () => other.destroy()).on("close", () => other.destroy());
    }
    user.on("data", (data) => {
      const text = data.toString("latin1");
      if (text.includes(`"target":"${target}"`)) armed = true;
      if (armed && request.test(text)) keeps = true;
      agent.write(data);
    });
    agent.on("data", (data) => {
      if (keeps) resolveDone();
      else user.write(data);
    });
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  return {
    done,
    async end() {
      for (const each of open) each.destroy();
      await new Promise((resolve) => server.close(resolve));
      await rename(real, socket);
    },
  };
}
