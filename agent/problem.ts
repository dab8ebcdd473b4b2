/** What an agent answers when it refuses or fails: an HTTP status, a code for programs, a sentence for people. */
export class Problem extends Error {
  constructor(
    readonly status: 400 | 404 | 409 | 410 | 413 | 422 | 500 | 503,
    readonly code: string,
    message: string,
    readonly data: Record<string, unknown> = {},
  ) {
    super(message);
    this.name = "Problem";
  }
}

/** What speaks against a step on this host as it is now; `path` is the property of the spec, empty where none is meant. */
export interface StepProblem {
  path: string;
  message: string;
}
