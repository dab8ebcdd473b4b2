import { open } from "node:fs/promises";
import { codeOf } from "../../../model/types/errors";
import type { ProbeResult } from "./probe";

/** Read at once, in bytes: what a flood writes is not held in memory. */
const CHUNK_BYTES = 256 * 1024;
/** Read by one probe, in bytes: the next one goes on. */
const PROBE_BYTES = 16 * CHUNK_BYTES;

/** Looks for a text in the output of a process, from its beginning; each probe goes on where the one before it ended. */
export class LineProbe {
  private offset = 0;
  private rest = Buffer.alloc(0);
  private found = false;
  private readonly wanted: Buffer;

  constructor(
    private readonly path: string,
    private readonly text: string,
  ) {
    this.wanted = Buffer.from(text);
  }

  async probe(): Promise<ProbeResult> {
    if (!this.found) await this.readOn();
    return this.found ? undefined : `its output has no ${JSON.stringify(this.text)} yet`;
  }

  private async readOn(): Promise<void> {
    try {
      const file = await open(this.path, "r");
      try {
        // A file that was rotated begins anew.
        if ((await file.stat()).size < this.offset) this.offset = 0;
        const chunk = Buffer.alloc(CHUNK_BYTES);
        for (let read = 0; read < PROBE_BYTES && !this.found; ) {
          const { bytesRead } = await file.read(chunk, 0, chunk.length, this.offset);
          if (bytesRead === 0) return;
          this.look(chunk.subarray(0, bytesRead));
          this.offset += bytesRead;
          read += bytesRead;
        }
      } finally {
        await file.close();
      }
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
    }
  }

  /** The text may lie across two reads. */
  private look(bytes: Buffer): void {
    const all = Buffer.concat([this.rest, bytes]);
    this.found = all.includes(this.wanted);
    this.rest = Buffer.from(all.subarray(Math.max(0, all.length - this.wanted.length)));
  }
}
