import { codeOf } from "../../model/types/errors";

/** Whether a file of /proc could not be read because its process has ended. */
export function hasEnded(error: unknown): boolean {
  return ["ENOENT", "ESRCH"].includes(codeOf(error) ?? "");
}

/** Whether a file of /proc is absent, because its process has ended or the kernel has none, or is another user's. */
export function isUnreadable(error: unknown): boolean {
  return hasEnded(error) || ["EACCES", "EPERM"].includes(codeOf(error) ?? "");
}
