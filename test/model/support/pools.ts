import type { z } from "zod";
import { type PoolInput, poolSpec } from "../../../src/model/pool/pool";
import type { SpecWithoutSecrets } from "../../../src/model/pool/pool-state";
import { issueMessage } from "../../../src/model/types/messages";

export const WEB: PoolInput["processes"][string] = {
  policy: "proxied",
  command: ["node", "server.js"],
  health: { path: "/healthz" },
};

/** A pool that is right, with parts replaced. */
export function poolInput(parts: Partial<PoolInput> = {}): PoolInput {
  return {
    edge: "main",
    release: { id: "v1", path: "/srv/app/v1" },
    ports: { from: 20_000, to: 20_999 },
    processes: { web: WEB },
    ...parts,
  };
}

/** A pool whose proxied process has these parts besides, or instead. */
export const web = (parts: object) => poolInput({ processes: { web: { ...WEB, ...parts } as never } });

/** A pool whose other process is this one. */
export const beside = (other: object) => poolInput({ processes: { web: WEB, other: other as never } });

/** The same as an agent holds it. */
export function withoutSecrets(
  parts: Partial<PoolInput> = {},
  secretEnv: Record<string, Record<string, string>> = {},
): SpecWithoutSecrets {
  const spec = poolSpec.parse(poolInput(parts));
  const processes = Object.entries(spec.processes).map(([id, template]) => [
    id,
    { ...template, secretEnv: secretEnv[id] ?? {} },
  ]);
  return { ...spec, processes: Object.fromEntries(processes) };
}

/** All problems of an input as `path: message`, as agents and providers ask for them. */
export function problems(schema: z.ZodType, input: unknown): string[] {
  const { error } = schema.safeParse(input, { error: issueMessage });
  return (error?.issues ?? []).map(({ path, message }) => `${path.join(".")}: ${message}`);
}

/** Gives each port once, from the bottom of the range. */
export function allocator(taken: Iterable<number> = [], from = 20_000): () => number {
  const used = new Set(taken);
  return () => {
    let port = from;
    while (used.has(port)) port += 1;
    used.add(port);
    return port;
  };
}
