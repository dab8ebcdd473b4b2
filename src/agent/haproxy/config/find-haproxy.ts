import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** Folders in which distributions put HAProxy, often outside of a user's PATH. */
const USUAL_FOLDERS = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/** Path of HAProxy on this host; its plain name where it is not found, so that using it says what is missing. */
export function findHaproxy(): string {
  const folders = [...(process.env.PATH ?? "").split(delimiter), ...USUAL_FOLDERS].filter((folder) =>
    folder.startsWith("/"),
  );
  const found = folders.map((folder) => join(folder, "haproxy")).find(isExecutable);
  return found ?? "haproxy";
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
