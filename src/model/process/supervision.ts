import { z } from "zod";
import { urlPath } from "../edge/backend";
import { duration } from "../types/duration";
import { quoteValue } from "../types/messages";
import { size } from "../types/size";

/** Supervision of a pool's processes: health, termination, memory, limits, output. */

/** A text that can be an argument or a variable of a process. */
export const text = z
  .string()
  .max(65_536)
  .refine((value) => !value.includes("\0"), {
    // Without the value: it may be a secret of an environment.
    error: "holds a NUL character: remove it",
  });

/** Program and arguments of a command that Sluice runs beside a process, with templates. No shell: name one to use it. */
const commandList = z.array(text).min(1).max(256);

/** The ways in which a health check looks; each check has one of them. */
export const HEALTH_KINDS = ["path", "tcp", "command", "line"] as const;

export const health = z.strictObject({
  /** Path that answers 2xx when the process is well. */
  path: urlPath.optional(),
  /** `true`: its port takes connections. */
  tcp: z.literal(true).optional(),
  /** Command that exits with 0 when it is well, with the process's environment, folder and user, and SLUICE_PID. */
  command: commandList.optional(),
  /** Text of a line of its output that says that it is ready. It is looked for until then, and not any more. */
  line: text.min(1).optional(),
  /** Time after the start until the first probe. @default "0 seconds" */
  startDelay: duration({ max: "1 hour" }).default("0 seconds"),
  /** Between two probes, until it has come up. @default "250 milliseconds" */
  interval: duration({ min: "10 milliseconds", max: "1 hour" }).default("250 milliseconds"),
  /** For one probe. @default "2 seconds" */
  timeout: duration({ min: "10 milliseconds", max: "5 minutes" }).default("2 seconds"),
  /** From the start until it must have answered well; else the release has failed. @default "1 minute" */
  deadline: duration({ min: "10 milliseconds", max: "1 hour" }).default("1 minute"),
  /** Interval of probes once the process is up; HAProxy then probes proxied processes instead. @default "5 seconds" */
  checkInterval: duration({ min: "100 milliseconds", max: "1 hour" }).default("5 seconds"),
  /** Good probes in a row until it is well, 1 to 100. @default 1 */
  rise: z.int().min(1).max(100).default(1),
  /** Bad probes in a row until it is not, 1 to 100; a service then restarts. @default 3 */
  fall: z.int().min(1).max(100).default(3),
});
export type Health = z.output<typeof health>;

/**
 * The end of a process's life: the quiet command, then the drain command (or waiting for its exit), then the stop command
 * (or the stop signal), then SIGKILL. Commands get the process's environment, folder and user, and `SLUICE_PID`; one that
 * fails or takes too long does not keep the process from being stopped.
 */
export const lifecycle = z.strictObject({
  /** Tells the process to take no more work; a proxied one has no more traffic by then. @default none */
  quiet: commandList.optional(),
  /** For the quiet command. @default "10 seconds" */
  quietTimeout: duration({ max: "1 hour" }).default("10 seconds"),
  /** Returns when the process has finished its work. @default none: its own exit is waited for */
  drain: commandList.optional(),
  /** For the drain command, or its own exit; "0 seconds" skips both. @default "0 seconds" */
  drainTimeout: duration({ max: "7 days" }).default("0 seconds"),
  /** Ends the process, within gracefulStop. @default none: the stop signal */
  stop: commandList.optional(),
});

const MEMORY = { min: "1 MiB", max: "64 TiB" } as const;

/** Memory of a process with its whole process group, pages that they share counted once. */
export const memory = z.strictObject({
  /** At this it restarts gracefully, by its restart policy; a proxied one while others take its traffic. */
  limit: size(MEMORY),
  /** At this an event says so. @default none */
  warning: size(MEMORY).optional(),
  /** Between two looks. @default "5 seconds" */
  interval: duration({ min: "100 milliseconds", max: "1 hour" }).default("5 seconds"),
});

/** Limits that the kernel enforces on a process. */
export const limits = z.strictObject({
  /** Open files. @default the agent's own */
  files: z.int().min(16).max(1_073_741_816).optional(),
  /** Largest core dump; "0 B" for none. @default the agent's own */
  core: size({ min: "0 B", max: "64 TiB" }).optional(),
  /** CPUs, such as 0.5, for the process and all that it starts, by cgroup v2. @default any */
  cpu: z.number().min(0.01).max(4096).optional(),
  /**
   * Memory that the process has with all that it starts, by cgroup v2: beyond it, the kernel kills them at once. To restart it
   * gracefully before that, declare `memory.limit` below. @default any
   */
  memory: size(MEMORY).optional(),
  /** Whether it is started without `cpu` and `memory` on a host that can't enforce them. @default false: the release is refused */
  optional: z.boolean().default(false),
});

/** Standard output and standard error, kept in files on the host. */
export const output = z.strictObject({
  /** Size at which the file is rotated. @default "8 MiB" */
  maxSize: size({ min: "64 KiB", max: "1 GiB" }).default("8 MiB"),
  /** Older files that are kept, 0 to 20. @default 1 */
  keep: z.int().min(0).max(20).default(1),
});
export type Output = z.output<typeof output>;

/** Descriptors on which a process can be given secrets: those below are its input and output, those above the shim's. */
const DESCRIPTORS = { from: 3, to: 8 } as const;

/** How a secret value reaches a process. */
export const handover = z.strictObject({
  /**
   * File descriptor, 3 to 8, from which the value can be read, instead of a variable of the environment, which child
   * processes inherit and debuggers dump. `/dev/fd/N` is its path; `SLUICE_FD_<NAME>` tells N.
   */
  fd: z.int().min(DESCRIPTORS.from).max(DESCRIPTORS.to),
});

const ACCOUNT = /^(?:[a-z_][a-z0-9_.-]{0,31}\$?|\d{1,10})$/;

/** Name or number of a user or a group of the host. */
export const account = z.string().regex(ACCOUNT, {
  error: ({ input }) => `${quoteValue(input)} is not the name or number of an account: write it as the host has it`,
});
