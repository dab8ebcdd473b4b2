import type { ServerResponse } from "node:http";
import type { z } from "zod";
import { type eventQuery, isAbout } from "../../model/protocol/event";
import type { AgentEvent } from "../../model/protocol/transaction";
import type { Events } from "../events/events";
import { drained } from "./output";

/** Unread answer at which a follower of events is cut off, in bytes. */
const MAX_UNREAD = 4 * 1024 * 1024;

/** Streams events as JSON lines: those of the past that are asked for, then what happens from now on. */
export async function streamEvents(
  events: Events,
  { since, last, follow, ...filter }: z.output<typeof eventQuery>,
  response: ServerResponse,
): Promise<void> {
  response.writeHead(200, { "content-type": "application/x-ndjson" });
  response.flushHeaders();
  const write = (event: AgentEvent) => {
    if (isAbout(event, filter)) response.write(`${JSON.stringify(event)}\n`);
    // Events are not kept for a follower that does not read them.
    if (response.writableLength > MAX_UNREAD) response.destroy();
  };
  // Queue new events until the past ones are read.
  let waiting: AgentEvent[] | undefined = [];
  const stop = events.follow((event) => (waiting === undefined ? write(event) : waiting.push(event)));
  response.on("close", stop);
  const past =
    since === undefined && last === undefined ? events.recent() : await pastOf(events, { since, last, filter });
  for (const event of past) {
    if (response.destroyed) return;
    write(event);
    if (response.writableNeedDrain) await drained(response);
  }
  if (follow === "false") {
    response.end();
    return;
  }
  const meanwhile = waiting;
  waiting = undefined;
  for (const event of meanwhile) write(event);
}

async function pastOf(
  events: Events,
  {
    since,
    last,
    filter,
  }: { since: string | undefined; last: number | undefined; filter: Parameters<typeof isAbout>[1] },
): Promise<AgentEvent[]> {
  const found: AgentEvent[] = [];
  const most = last ?? Number.POSITIVE_INFINITY;
  for await (const event of events.history(new Date(since ?? 0))) {
    if (!isAbout(event, filter)) continue;
    found.push(event);
    if (found.length > most) found.shift();
  }
  return found;
}
