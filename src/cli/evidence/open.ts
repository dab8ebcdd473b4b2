import { spawn } from "node:child_process";
import { access, constants, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import type { EvidenceRecord } from "../../model/evidence/record";
import { UsageError } from "../common/exit";

/** For its user alone: pages name hosts, people and programs. */
const PRIVATE_FILE_MODE = 0o600;

/** Time within which a program that can't show a page says so, in milliseconds. */
const OPENER_MS = 5000;

/** Writes a page to a file that the user names. */
export async function writePage(path: string, page: string): Promise<void> {
  try {
    await writeFile(path, page, { mode: PRIVATE_FILE_MODE });
  } catch (error) {
    throw new UsageError([`--html ${path} can't be written: ${(error as Error).message}`]);
  }
}

/**
 * Puts a page into a private temporary folder, since its agent may be on another host, and opens it where there is a screen.
 *
 * @returns where the page is, and whether a browser was asked to show it
 */
export async function openPage(
  { id }: EvidenceRecord,
  page: string,
  env: Record<string, string | undefined>,
): Promise<{ path: string; opened: boolean }> {
  const path = join(await mkdtemp(join(tmpdir(), "sluice-evidence-")), `${id}.html`);
  await writeFile(path, page, { mode: PRIVATE_FILE_MODE });
  return { path, opened: await openFile(path, env) };
}

/** Opens a file as the user's desktop does. @returns whether a program was asked to show it */
export async function openFile(path: string, env: Record<string, string | undefined>): Promise<boolean> {
  const opener = await openerOf(env);
  return opener !== undefined && (await runs(opener, path));
}

/** The program that opens a file as the user's desktop does; nothing without a screen. */
async function openerOf(env: Record<string, string | undefined>): Promise<string | undefined> {
  const mac = process.platform === "darwin";
  if (!mac && !env.DISPLAY && !env.WAYLAND_DISPLAY) return undefined;
  for (const folder of (env.PATH ?? "").split(delimiter).filter(Boolean)) {
    const path = join(folder, mac ? "open" : "xdg-open");
    const found = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return path;
  }
  return undefined;
}

/** Whether a program shows a file: one that finds no browser ends soon with an error, and one that is the browser goes on by itself. */
function runs(program: string, argument: string): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(program, [argument], { detached: true, stdio: "ignore" });
    const goesOn = setTimeout(() => {
      child.unref();
      resolve(true);
    }, OPENER_MS);
    child.once("error", () => end(false)).once("exit", (code) => end(code === 0));
    const end = (shown: boolean) => {
      clearTimeout(goesOn);
      resolve(shown);
    };
  });
}
