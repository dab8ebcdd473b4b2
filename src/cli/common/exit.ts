/** Exit codes of every verb. */
export const EXIT = {
  good: 0,
  /** The verb worked, and found problems. */
  problems: 1,
  /** The command line, or a file that it names, can't be used. */
  usageError: 2,
  /** The subject of the verb can't be reached. */
  unreachable: 3,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** An input of the user's can't be used; every problem is one line with its remedy. */
export class UsageError extends Error {
  constructor(readonly problems: readonly string[]) {
    super(problems.join("\n"));
    this.name = "UsageError";
  }
}

/** The subject of a verb can't be reached: no agent answers, or the way to its host is closed. */
export class NotReached extends Error {
  constructor(message: string) {
    super(message);
    this.name = "NotReached";
  }
}

/** Streams and environment that verbs use. */
export interface Terminal {
  stdout: NodeJS.WritableStream & { isTTY?: boolean; columns?: number; rows?: number };
  stderr: NodeJS.WritableStream & { isTTY?: boolean; columns?: number };
  stdin: AsyncIterable<Uint8Array>;
  env: Record<string, string | undefined>;
}
