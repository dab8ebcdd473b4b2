import { z } from "zod";

/** Longest name of an edge, backend, pool, process or server: it must fit HAProxy's names and file names with room for suffixes. */
export const MAX_NAME = 40;

const NAME = /^[a-z][a-z0-9-]{0,39}$/;
const RELEASE_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Name of an edge, frontend, backend, pool, process or server. It reaches HAProxy's config, file names and process ids as it is. */
export const name = z.string().regex(NAME, {
  error: (issue) =>
    `${JSON.stringify(issue.input)} is not a name: use lower-case letters, digits and "-", starting with a letter, at most ${MAX_NAME} characters`,
});

/** Id of a release, such as `v2`, `2026-11-21.3` or a git revision. */
export const releaseId = z.string().regex(RELEASE_ID, {
  error: (issue) =>
    `${JSON.stringify(issue.input)} is not a release id: use letters, digits, ".", "_" and "-", starting with a letter or digit, at most 64 characters`,
});

/** Absolute path on the host, without `..`, line breaks or NUL. */
export const absolutePath = z
  .string()
  .max(1024)
  .refine((path) => path.startsWith("/") && !path.split("/").includes("..") && !hasControl(path), {
    error: (issue) => `${JSON.stringify(issue.input)} is not an absolute path without "..": write it from "/"`,
  });

/** Whether a text holds a control character, which could end a line of a config file or of a log. */
export function hasControl(text: string): boolean {
  return [...text].some((character) => {
    const code = character.codePointAt(0) ?? 0;
    return code < 0x20 || code === 0x7f;
  });
}
