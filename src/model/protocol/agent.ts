import { z } from "zod";
import { evidenceRetention } from "../evidence/retention";
import { quoteValue } from "../types/messages";
import { absolutePath } from "../types/names";

/** Longest path that a Unix socket can have on Linux, in bytes. */
export const MAX_SOCKET_PATH = 107;

const account = z.string().regex(/^[a-z_][a-z0-9_-]{0,31}$/, {
  error: (issue) =>
    `${quoteValue(issue.input)} is not the name of a user or group: use lower-case letters, digits, "_" and "-"`,
});

/** How an agent runs: `agent.json` in its state folder, and what an `Agent` resource declares. */
export const agentOptions = z.strictObject({
  /** Unix socket that it listens on; whoever may connect may change traffic. Change: the agent restarts, apps do not. */
  socket: absolutePath.refine((path) => Buffer.byteLength(path) <= MAX_SOCKET_PATH, {
    error: (issue) =>
      `${quoteValue(issue.input)} is too long for a Unix socket (${MAX_SOCKET_PATH} bytes): use a shorter path`,
  }),
  /** Mode of the socket, in octal digits. @default "0600": only the agent's user. Change: the agent restarts, apps do not. */
  mode: z
    .string()
    .regex(/^0?[0-7]{3}$/, {
      error: (issue) => `${quoteValue(issue.input)} is not a file mode: write octal digits such as "0660"`,
    })
    .default("0600"),
  /** User that owns the socket. @default the agent's user. Change: the agent restarts, apps do not. */
  owner: account.optional(),
  /** Group of the socket. @default the agent's group. Change: the agent restarts, apps do not. */
  group: account.optional(),
  /**
   * File to which its events go as JSON lines, besides the record in its state folder; SIGHUP reopens it, for logrotate.
   * @default none. Change: the agent restarts, apps do not.
   */
  log: absolutePath.optional(),
  /** How much evidence of changes is kept. @default 300 changes, 400 days, 200 MiB. Change: live. */
  evidence: evidenceRetention.optional(),
});
export type AgentOptions = z.output<typeof agentOptions>;

/** Said of an agent without a guard. */
export const UNGUARDED = "nothing restarts it when it dies";

/** Whether an agent can take these options for those that it has without a restart. */
export function isLiveChange({ evidence: _before, ...before }: AgentOptions, after: AgentOptions): boolean {
  const { evidence: _after, ...rest } = after;
  const texts = (options: object) => JSON.stringify(Object.entries(options).toSorted());
  return texts(before) === texts(rest);
}
