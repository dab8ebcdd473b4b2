import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const VERSION = "2.70.0";
const INSTALL_DEADLINE_MS = 180_000;

/** The linter that is measured beside, from PyPI, kept in the cache folder; its version comes with it. */
export async function prepareSquawk(say: (line: string) => void): Promise<{ file: string; version: string }> {
  const folder = path.join(homedir(), ".cache", "sluice", "bench", `squawk-${VERSION}`);
  const file = path.join(folder, "bin", "squawk");
  if (!existsSync(file)) {
    say(`installs squawk-cli ${VERSION} from PyPI into ${folder}`);
    const building = `${folder}.${process.pid}`;
    await mkdir(building, { recursive: true });
    try {
      const args = ["-m", "pip", "install", "--quiet", "--target", building, `squawk-cli==${VERSION}`];
      await run("python3", args, { timeout: INSTALL_DEADLINE_MS });
      await rename(building, folder);
    } catch (error) {
      throw new Error(
        `squawk-cli ${VERSION} can't be installed: ${(error as Error).message}; it needs python3 with pip`,
        {
          cause: error,
        },
      );
    } finally {
      await rm(building, { recursive: true, force: true });
    }
  }
  return { file, version: VERSION };
}
