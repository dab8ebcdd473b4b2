import { rm } from "node:fs/promises";
import type { Server } from "node:net";

/** Listens at a path in place of what is there; from the socket's first moment only this user may connect. */
export async function listenPrivately(server: Server, path: string): Promise<void> {
  await rm(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    // The socket is bound within this call; nothing else may create its files under this mask.
    const umask = process.umask(0o177);
    try {
      server.listen(path, () => resolve());
    } finally {
      process.umask(umask);
    }
  });
}
