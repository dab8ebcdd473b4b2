import { rename } from "node:fs/promises";
import { z } from "zod";
import { serverState } from "../../../model/edge/backend";
import { appliedEdge } from "../../../model/edge/edge";
import { edgeBackend } from "../../../model/pool/pool-share";
import { routeSpec } from "../../../model/route/route";
import { backendName, name, serverKey } from "../../../model/types/names";
import { readIfThere, writeFileAtomic } from "../../support/files";

const id = z.string().regex(/^[A-Za-z0-9_.:-]{1,200}$/);
const port = z.int().min(0).max(65_535);

const record = z.strictObject({
  version: z.literal(1),
  spec: appliedEdge,
  backends: z.record(backendName, edgeBackend),
  routes: z.record(name, routeSpec).default({}),
  placed: z.array(
    z.strictObject({
      backend: backendName,
      name: serverKey,
      id,
      address: z.string(),
      port,
      weight: z.int(),
      state: serverState,
    }),
  ),
  /** Longest time that an idle client connection of a worker of before the last reload may still wait, in milliseconds. */
  oldIdleMs: z.number().default(0),
  leaving: z.array(z.strictObject({ backend: backendName, id, address: z.string(), port, deadline: z.number() })),
});

/** The last applied state of an edge, and the servers that still drain: the next agent needs it to go on. */
export type EdgeRecord = z.output<typeof record>;

/**
 * Reads an edge's record; undefined if there is none. One that cannot be understood is kept aside and reported: HAProxy
 * itself still says what runs, and what is wanted comes with the next `apply`.
 */
export async function readRecord(
  path: string,
  log: (message: string, data?: object) => void,
): Promise<EdgeRecord | undefined> {
  const text = await readIfThere(path);
  if (text === undefined) return undefined;
  try {
    return record.parse(JSON.parse(text));
  } catch (error) {
    const keptAs = `${path}.corrupt-${new Date().toISOString()}`;
    await rename(path, keptAs);
    log(`${path} cannot be understood and was kept aside as ${keptAs}`, { error: (error as Error).message });
    return undefined;
  }
}

/** Durable when it resolves. */
export async function writeRecord(path: string, value: EdgeRecord): Promise<void> {
  await writeFileAtomic(path, `${JSON.stringify(value, null, 2)}\n`);
}
