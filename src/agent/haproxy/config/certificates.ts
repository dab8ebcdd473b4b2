import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { EdgeSpec } from "../../../model/edge/edge";
import { messageOf } from "../../../model/types/errors";
import { certificatePaths } from "./config-file";

/** A certificate that an edge serves. */
interface Certificate {
  path: string;
  /** What is wrong with it, and what to do; undefined if nothing is. */
  problem?: string;
  /** Whether clients refuse it. */
  refused: boolean;
  /** Last moment at which it is good; undefined if it can't be read. */
  until?: Date;
}

/** Looks at the files of an edge's certificates: HAProxy itself reads them when it starts and reloads, and serves one that has expired. */
export function certificatesOf(spec: EdgeSpec, now: Date): Promise<Certificate[]> {
  return Promise.all(certificatePaths(spec).map((path) => certificateAt(path, now)));
}

async function certificateAt(path: string, now: Date): Promise<Certificate> {
  let found: X509Certificate;
  try {
    found = new X509Certificate(await readFile(path));
  } catch (error) {
    const problem = `its certificate ${path} can't be read (${messageOf(error)}): HAProxy serves the one that it has loaded, but can neither reload nor start until the file is put back`;
    return { path, problem, refused: false };
  }
  const from = new Date(found.validFrom);
  const until = new Date(found.validTo);
  const is = until < now ? `expired on ${until.toISOString()}` : from > now ? `is good from ${from.toISOString()}` : "";
  if (is === "") return { path, refused: false, until };
  return {
    path,
    problem: `its certificate ${path} ${is}: put a good one there, then run pulumi up`,
    refused: true,
    until,
  };
}
