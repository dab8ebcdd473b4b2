import { rename } from "node:fs/promises";
import { createConnection, createServer, type Socket } from "node:net";

export interface KeptBack {
  /** Resolves once the agent has committed, and nobody has been told. */
  committed: Promise<void>;
  /** Lets everything through again. */
  end(): Promise<void>;
}

/**
 * Stands between an agent and its users, and keeps back the answer to the commit of a target's next transaction: the moment
 * in which the agent has committed what the engine does not know yet.
 */
export async function keepCommitBack(socket: string, target: string): Promise<KeptBack> {
  const real = `${socket}.real`;
  await rename(socket, real);
  const open = new Set<Socket>();
  let armed = false;
  let told: () => void = () => undefined;
  const committed = new Promise<void>((resolve) => {
    told = resolve;
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
      if (armed && /^POST \/v1\/transactions\/[^/ ]+\/commit /.test(text)) keeps = true;
      agent.write(data);
    });
    agent.on("data", (data) => {
      if (keeps) told();
      else user.write(data);
    });
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  return {
    committed,
    async end() {
      for (const each of open) each.destroy();
      await new Promise((resolve) => server.close(resolve));
      await rename(real, socket);
    },
  };
}
