import { createServer } from "node:http";
import { waitFor } from "../../support/waiting";
import { ApiError } from "../api/api-error";
import { listenOnSocket } from "../api/socket";
import type { Events } from "../events/events";
import type { StateFile } from "../state/state";
import type { OwnFacts } from "./about";
import { EXIT_RESTART } from "./stop";

/** Pause between two searches for a good copy of a state that can't be trusted, in milliseconds. */
const RELOAD_MS = 1000;

/** With a state that can't be trusted, the agent says so and changes nothing until a good copy is there; processes and traffic go on as they are. */
export async function serveNothing(about: OwnFacts, events: Events, stateFile: StateFile): Promise<never> {
  const message = `the agent's state could not be read, so it changes nothing: ${about.notes.join("; ")}; put a good copy back as state.json in ${about.directory}: the agent then starts again with it`;
  events.emit(message);
  const problem = new ApiError(503, "no-state", message);
  const server = createServer((_, response) => {
    response.writeHead(problem.status, { "content-type": "application/json" });
    response.end(JSON.stringify({ error: { code: problem.code, message, about } }));
  });
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => process.exit(0));
  await listenOnSocket(server, about.options);
  await waitFor(async () => (await stateFile.load()).kind === "loaded", { everyMs: RELOAD_MS });
  process.exit(EXIT_RESTART);
}
