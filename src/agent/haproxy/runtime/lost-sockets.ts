import { lstat } from "node:fs/promises";
import { ifThere } from "../../support/files";
import type { Sockets } from "./worker-set";

/** HAProxy runs, but can't be reached: one of its sockets was deleted or replaced. */
export class SocketsLost extends Error {
  override readonly name = "SocketsLost";

  /** @param inTheWay whether something is in a socket's place that HAProxy can't replace */
  constructor(
    message: string,
    readonly inTheWay: boolean,
  ) {
    super(message);
  }
}

interface LostSocket {
  path: string;
  now: "gone" | "a folder" | "no socket";
}

/** Sockets whose files are missing or something else. HAProxy creates each under another name first, so a reload leaves no gap. */
export async function lostSockets({ master, worker }: Sockets): Promise<LostSocket[]> {
  const all = await Promise.all(
    [master, worker].map(async (path): Promise<LostSocket[]> => {
      const file = await ifThere(lstat(path));
      if (file?.isSocket()) return [];
      return [{ path, now: file === undefined ? "gone" : file.isDirectory() ? "a folder" : "no socket" }];
    }),
  );
  return all.flat();
}

/** Why HAProxy can't be reached, and what follows. */
export function lostProblem(edge: string, pid: number | undefined, lost: readonly LostSocket[]): SocketsLost {
  const inTheWay = lost.filter(({ now }) => now === "a folder");
  const why = lost.length === 0 ? "its sockets refuse" : lost.map(({ path, now }) => `${path} is ${now}`).join(", ");
  const remedy =
    inTheWay.length > 0
      ? `remove ${inTheWay.map(({ path }) => path).join(" and ")}, and the agent binds it again`
      : "the agent binds it again by a reload, see sluice events";
  return new SocketsLost(
    `HAProxy of edge ${edge} (process ${pid}) serves requests but can't be reached, since ${why}: ${remedy}`,
    inTheWay.length > 0,
  );
}
