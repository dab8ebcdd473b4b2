import { randomUUID } from "node:crypto";
import type { AgentClient } from "../../agent/client/client";
import { MAX_NOTE_TEXT, MAX_NOTES, MAX_PARTS, type NoteInput, type Program } from "../../model/evidence/note";
import { parseUrn } from "../../model/types/urn";
import { withTimeout } from "../../support/waiting";
import type { Context } from "../server";
import { ciOf } from "./ci";
import { type Git, gitOf } from "./git";

/** Notes that wait for an agent at most; of more, the oldest are dropped. */
const MAX_WAITING = 1000;
/** Time for one message, in milliseconds. */
const MESSAGE_DEADLINE_MS = 5000;
/** Time that the end of a transaction waits for its last notes, in milliseconds. */
const LAST_NOTES_MS = 1000;

/**
 * Sends the agents of a change facts that only the deploying side knows, for their evidence. It never throws and never
 * waits.
 */
export type SendNote = (note: NoteInput) => void;

/** Makes a note that people read in the timeline. */
export function note(text: string): NoteInput {
  return { kind: "remark", at: Date.now(), text: text.slice(0, MAX_NOTE_TEXT) };
}

/** Begins to send the agents of a change notes about its author. */
export function openNoteSenders(
  parts: readonly { client: Pick<AgentClient, "notes" | "socket">; id: string; target: string }[],
  { urn, log }: Pick<Context, "urn" | "log">,
): { sendNote: SendNote /** Waits until all notes are sent, but not long. */; sent: () => Promise<void> } {
  const senders = parts.map(({ client, id }) => new NoteSender(client, id, (why) => log.debug(why)));
  const sendNote: SendNote = (note) => {
    for (const sender of senders) sender.add(note);
  };
  const common = {
    group: randomUUID(),
    parts: parts.slice(0, MAX_PARTS).map(({ client, id, target }) => ({ socket: client.socket, id, target })),
  };
  const introduced = sendProgram(sendNote, { ...programOf(urn), ...(parts.length > 1 ? common : {}) });
  const sent = async () => {
    const all = introduced.then(() => Promise.all(senders.map((sender) => sender.idle())));
    await withTimeout(all, LAST_NOTES_MS, () => undefined);
  };
  return { sendNote, sent };
}

/** Sends notes to one agent, in order, in the background. What it can't send is lost: a change does not depend on it. */
class NoteSender {
  private readonly waiting: NoteInput[] = [];
  private sending: Promise<void> | undefined;

  constructor(
    private readonly client: Pick<AgentClient, "notes">,
    private readonly id: string,
    /** Told why notes were lost. */
    private readonly lost: (why: string) => void,
  ) {}

  add(note: NoteInput): void {
    this.waiting.push(note);
    if (this.waiting.length > MAX_WAITING) this.waiting.shift();
    this.sending ??= this.send().finally(() => {
      this.sending = undefined;
    });
  }

  private async send(): Promise<void> {
    // Notes of the same moment go as one message.
    await Promise.resolve();
    while (this.waiting.length > 0) {
      const notes = this.waiting.splice(0, MAX_NOTES);
      try {
        await this.client.notes(this.id, notes, { timeoutMs: MESSAGE_DEADLINE_MS });
      } catch (error) {
        this.lost(`${notes.length} notes for the evidence were lost: ${(error as Error).message}`);
      }
    }
  }

  /** Settles once nothing is left to send. */
  async idle(): Promise<void> {
    await this.sending;
  }
}

/** Of this process's program: it does not change while the program runs. */
let git: Promise<Git | undefined> | undefined;
/** Of all changes that this process makes: the engine starts one for each `pulumi up`. */
const UPDATE = randomUUID();

/** Sends each agent the author of a change; git is asked beside it. */
async function sendProgram(sendNote: SendNote, known: Program): Promise<void> {
  const ci = ciOf(process.env);
  const program = { ...known, update: UPDATE, ...(ci === undefined ? {} : { ci }) };
  const at = Date.now();
  sendNote({ kind: "program", at, program });
  git ??= gitOf(process.cwd());
  const found = await git;
  if (found !== undefined) sendNote({ kind: "program", at, program: { ...program, git: found } });
}

/** Program of a resource, read from its URN. */
export function programOf(urn: string): Program {
  const cut = Object.entries(parseUrn(urn) ?? {}).map(([part, text]) => [part, text.slice(0, 200)]);
  return { urn: urn.slice(0, 1000), ...Object.fromEntries(cut) };
}
