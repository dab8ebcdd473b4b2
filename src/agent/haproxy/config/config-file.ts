import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EdgeSpec } from "../../../model/edge/edge";
import { SCRIPT_FILE } from "../../mirror/script";
import { withScriptIn } from "./mirror";
import { digest, type Rendered } from "./render";
import { SPLITS_FILE } from "./routes";
import { validateFile } from "./validate";

/** The structure that a config on disk would give a worker. */
export function structureOf(text: string | undefined): string | undefined {
  return text === undefined ? undefined : /^ {2}description (\S+)$/m.exec(text)?.[1];
}

/** Lets HAProxy check a config and the files that it names without leaving anything behind. Throws HAProxy's own words. */
export async function validateText(
  binary: string,
  { text, splits, script }: Omit<Rendered, "structure">,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "sluice-check-"));
  try {
    const path = join(folder, "haproxy.cfg");
    await writeFile(path, withScriptIn(text, folder), { mode: 0o600 });
    if (splits !== undefined) await writeFile(join(folder, SPLITS_FILE), splits, { mode: 0o600 });
    if (script !== undefined) await writeFile(join(folder, SCRIPT_FILE), script, { mode: 0o600 });
    await validateFile(binary, path);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Paths of the certificates that an edge serves. */
export function certificatePaths({ frontends }: EdgeSpec): string[] {
  const paths = Object.values(frontends).flatMap(({ binds }) => binds.flatMap(({ tls }) => tls?.certificate ?? []));
  return [...new Set(paths)];
}

/** Digests of the certificates that an edge serves; one that cannot be read is left to HAProxy, which says why. */
export async function certificateDigests(spec: EdgeSpec): Promise<Record<string, string>> {
  const digests = await Promise.all(
    certificatePaths(spec).map(async (path): Promise<[string, string][]> => {
      const content = await readFile(path).catch(() => undefined);
      return content === undefined ? [] : [[path, digest(content)]];
    }),
  );
  return Object.fromEntries(digests.flat());
}
