import { z } from "zod";
import { quoteValue } from "./messages";

/** Longest name of an edge, backend, pool, process or server that a user gives: it must fit HAProxy's names and file names with room for suffixes. */
const MAX_NAME = 40;
/** Longest name of a server in HAProxy: a process's name, its generation and its replica. */
const MAX_SERVER_NAME = 64;

const NAME = /^[a-z][a-z0-9-]{0,39}$/;
const SERVER_NAME = /^[a-z][a-z0-9-]{0,63}$/;
const RELEASE_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Every object of JavaScript has a property of this name, so that as a key it is found where nobody put it. */
const RESERVED = "constructor";

/** Name of an edge, frontend, backend, pool or process. It reaches HAProxy's config, file names and process ids as it is. */
export const name = z
  .string()
  .regex(NAME, {
    error: ({ input }) =>
      `${quoteValue(input)} is not a name: use lower-case letters, digits and "-", starting with a letter, at most ${MAX_NAME} characters`,
  })
  .refine((text) => text !== RESERVED, {
    error: ({ input }) => `${quoteValue(input)} is a reserved name: use another`,
  });

/** Name of a server within its backend: as other names, with room for the generation and replica of a pool's process. */
export const serverKey = z
  .string()
  .regex(SERVER_NAME, {
    error: ({ input }) =>
      `${quoteValue(input)} is not a server's name: use lower-case letters, digits and "-", starting with a letter, at most ${MAX_SERVER_NAME} characters`,
  })
  .refine((text) => text !== RESERVED, {
    error: ({ input }) => `${quoteValue(input)} is a reserved name: use another`,
  });

/** Id of a release, such as `v2`, `2026-11-21.3` or a git revision. */
export const releaseId = z.string().regex(RELEASE_ID, {
  error: ({ input }) =>
    `${quoteValue(input)} is not a release id: use letters, digits, ".", "_" and "-", starting with a letter or digit, at most 64 characters`,
});

/** Absolute path on the host, without `..`, line breaks or other control characters. It may hold spaces and quotes: who writes it into a config or a shell command quotes it. */
export const absolutePath = z
  .string()
  .max(1024)
  .refine((path) => path.startsWith("/") && !path.split("/").includes(".."), {
    error: ({ input }) => `${quoteValue(input)} is not an absolute path without "..": write it from "/"`,
  })
  .refine((path) => !hasControl(path), {
    error: ({ input }) => `${quoteValue(input)} holds a control character: remove it`,
  });

/**
 * Whether a text holds a character that could end a line of a config file, of a log or of a terminal's output (C0 and C1
 * controls, Unicode's line and paragraph separators), or half of a surrogate pair, which no file name can carry.
 */
export function hasControl(text: string): boolean {
  return [...text].some((character) => {
    const code = character.codePointAt(0) ?? 0;
    return (
      code < 0x20 ||
      (code >= 0x7f && code < 0xa0) ||
      code === 0x2028 ||
      code === 0x2029 ||
      (code >= 0xd800 && code < 0xe000)
    );
  });
}

/** Ends the name of a candidate's backend. Users' names hold no dot. */
const SUFFIX = ".candidate";

/** Name of the backend of a pool's candidate. */
export function candidateBackend(pool: string): string {
  return `${pool}${SUFFIX}`;
}

/** The pool whose backend, or whose candidate's, has a name. */
export function poolOfBackend(backend: string): string {
  return backend.endsWith(SUFFIX) ? backend.slice(0, -SUFFIX.length) : backend;
}

/** Name of a backend on an edge: one that users gave, or that of a candidate. */
export const backendName = z.string().regex(/^(?!constructor$)[a-z][a-z0-9-]{0,39}(\.candidate)?$/, {
  error: ({ input }) => `${quoteValue(input)} is not the name of a backend: use that of a backend or pool`,
});
