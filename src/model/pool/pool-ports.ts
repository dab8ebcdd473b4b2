import type { ProcessTemplate } from "../process/process-template";

type Ported = Pick<ProcessTemplate, "policy" | "port">;

/** Ports that one release takes from the pool's range. */
export function portsPerRelease(processes: Record<string, Ported & Pick<ProcessTemplate, "replicas">>): number {
  return Object.values(processes)
    .filter((template) => takesFromRange(template))
    .reduce((sum, { replicas }) => sum + replicas, 0);
}

/** Whether each replica of this process gets a port from the pool's range. */
export function takesFromRange({ policy, port }: Ported): boolean {
  return policy === "proxied" || (policy !== "service" && port === true);
}

/** Whether a process has a port at all. */
export function hasPort(template: Ported | undefined): boolean {
  return template !== undefined && (takesFromRange(template) || typeof template.port === "number");
}
