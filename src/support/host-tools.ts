import { existsSync } from "node:fs";

/** Folders of the host's own tools, whatever PATH a process is given. */
const FOLDERS = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
const PACKAGES = { getent: "libc-bin", id: "coreutils", prlimit: "util-linux", setpriv: "util-linux" };

export type HostTool = keyof typeof PACKAGES;

/** Path of one of the host's own tools; undefined where it is not installed. */
export function findTool(tool: HostTool): string | undefined {
  return FOLDERS.map((folder) => `${folder}/${tool}`).find((each) => existsSync(each));
}

/** Path of one of the host's own tools. @throws where it is not installed */
export function toolPath(tool: HostTool): string {
  const path = findTool(tool);
  if (path !== undefined) return path;
  throw new Error(`${tool} is not installed on this host (looked in ${FOLDERS.join(", ")}): install ${PACKAGES[tool]}`);
}
