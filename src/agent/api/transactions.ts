import { z } from "zod";
import { notesRequest } from "../../model/evidence/note";
import { ABORT_PATIENCE_MS } from "../transactions/transactions";
import type { EvidenceAnswer } from "./answers";
import { ApiError } from "./api-error";
import { type Call, parse } from "./call";

export async function abort({ parts, params, body }: Call) {
  const request = z.object({
    reason: z.string().max(10_000).default("its holder aborted it"),
    waitMs: z.int().min(0).max(ABORT_PATIENCE_MS).default(ABORT_PATIENCE_MS),
  });
  const { reason, waitMs } = parse(request, body);
  return parts.transactions.abort(params[0] ?? "", reason, waitMs);
}

/** Takes what the deploying side knows of a transaction, for its evidence. */
export async function takeNotes({ parts, params: [id = ""], body }: Call) {
  const { notes } = parse(notesRequest, body);
  parts.transactions.status(id);
  await parts.evidence.notes(id, notes);
  return {};
}

export async function oneEvidence({ parts, params: [id = ""] }: Call): Promise<EvidenceAnswer> {
  const found = await parts.evidence.get(id);
  if (found !== undefined) return found;
  throw new ApiError(404, "not-found", `there is no evidence of transaction ${id} on this agent: list what there is`);
}
