/** Exit codes of every verb. */
export const EXIT = {
  good: 0,
  /** The verb did its work, and what it looked at is not as it should be. */
  problems: 1,
  /** The command line, or a file that it names, can't be used. */
  usage: 2,
  /** What the verb is about can't be reached. */
  unreachable: 3,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** What the user gave can't be used; every problem is one line with its remedy. */
export class UsageError extends Error {
  constructor(readonly problems: readonly string[]) {
    super(problems.join("\n"));
    this.name = "UsageError";
  }
}

/** What a verb is about can't be reached: no agent answers, or the way to its host is closed. */
export class NotReached extends Error {
  constructor(message: string) {
    super(message);
    this.name = "NotReached";
  }
}

/** What verbs write to and read from. */
export interface Terminal {
  stdout: NodeJS.WritableStream & { isTTY?: boolean; columns?: number; rows?: number };
  stderr: NodeJS.WritableStream & { isTTY?: boolean; columns?: number };
  stdin: AsyncIterable<Uint8Array>;
  env: Record<string, string | undefined>;
}
