/** A refusal or failure of the agent: an HTTP status, a code for programs, a sentence for people. */
export class ApiError extends Error {
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

/** A host's objection to a step; `path` is the property of the spec, empty if it is about none. */
export interface StepProblem {
  path: string;
  message: string;
}
