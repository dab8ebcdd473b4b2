import { Agent, get } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { Cleanup } from "./agent";

/** Results of requests, by release. */
export interface Seen {
  /** Answers by `release status`, such as `v2 200`. */
  answers: Record<string, number>;
  /** Requests without an answer, and answers that HAProxy itself gave (503). */
  failures: string[];
}

export interface Requests {
  seen(): Seen;
  stop(): Promise<Seen>;
}

/**
 * Sends requests to some ports of this host, one after the other, until it is stopped, or the test is over.
 *
 * @param keepAlive whether connections are used again; an edge may end one that is idle just as it is, which counts as a failure here.
 *   @default a connection for each request
 */
export function sendRequests(
  t: Cleanup,
  ports: readonly number[],
  { atOnce = 4, pauseMs = 25, keepAlive = false } = {},
): Requests {
  const agent = new Agent({ keepAlive, maxSockets: atOnce });
  const answers: Record<string, number> = {};
  const failures: string[] = [];
  let running = true;
  const senders = Array.from({ length: atOnce }, async (_, index) => {
    for (let turn = index; running; turn++) {
      const port = ports[turn % ports.length] as number;
      await ask(port, agent).then(
        ({ release, status }) => {
          if (release === undefined) failures.push(`${status} from port ${port}`);
          const key = `${release} ${status}`;
          answers[key] = (answers[key] ?? 0) + 1;
        },
        (error: Error) => failures.push(`port ${port}: ${error.message}`),
      );
      await sleep(pauseMs);
    }
  });
  t.after(() => {
    running = false;
    agent.destroy();
  });
  const seen = () => ({ answers: { ...answers }, failures: [...failures] });
  return {
    seen,
    async stop() {
      running = false;
      await Promise.all(senders);
      agent.destroy();
      return seen();
    },
  };
}

/** One request: who answered, and how. */
export function ask(
  port: number,
  agent: Agent | false = false,
): Promise<{ release: string | undefined; status: number }> {
  return new Promise((resolve, reject) => {
    const call = get({ host: "127.0.0.1", port, path: "/", agent }, (response) => {
      response.resume();
      const { "x-release": release } = response.headers;
      response.on("end", () => resolve({ release: release as string | undefined, status: response.statusCode ?? 0 }));
      response.on("error", reject);
    });
    call.on("error", reject);
  });
}
