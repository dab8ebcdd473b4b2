import { z } from "zod";

/** Something on a host that its agent can't supervise. */
export const recoveryItem = z.strictObject({
  kind: z
    .enum(["orphan", "half-dead", "corrupt-record", "pid-reused", "former-agent"])
    .describe(
      "`orphan`: a process of this agent without a record; `half-dead`: a process whose shim is gone; `corrupt-record`: a record that can't be read; `pid-reused`: a process id that another process has now; `former-agent`: a process of another agent, whose state folder had this one's path and was moved or deleted",
    ),
  id: z.string().describe("id of the process on its host"),
  pid: z.int().optional(),
  startTime: z.string().optional().describe("start of that process id, in clock ticks since the host's boot"),
  command: z.string().optional(),
  file: z.string().optional().describe("file of the record"),
  message: z.string(),
  ours: z
    .boolean()
    .describe(
      "whether it is provably this agent's, by start time and the marker in its environment, so that `--force` stops it",
    ),
  outcome: z.string().optional().describe("result of `--force`: `stopped`, `removed`, or the reason why not"),
});
export type RecoveryItem = z.output<typeof recoveryItem>;

const recoveryAnswer = z.strictObject({ items: z.array(recoveryItem) });
export type RecoveryAnswer = z.output<typeof recoveryAnswer>;

/** One check of a host, or of a release. */
export const check = z.strictObject({
  name: z.string().describe("such as `disk` or `haproxy`"),
  verdict: z.enum(["good", "warning", "problem"]),
  message: z.string(),
});
export type Check = z.output<typeof check>;

const doctorAnswer = z.strictObject({ now: z.iso.datetime(), checks: z.array(check) });
export type DoctorAnswer = z.output<typeof doctorAnswer>;
