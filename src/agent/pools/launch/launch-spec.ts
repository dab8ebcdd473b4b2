import type { Instance } from "../../../model/pool/pool-instances";
import { factsAsEnvironment, fill, type TemplateValues } from "../../../model/process/template";
import { bytes } from "../../../model/types/size";
import type { ProcessSpec } from "../../processes/process-manager";
import { type Account, limitedBy, runningAs } from "./account";
import { toLabels } from "./labels";

/** Variables of the agent's own environment that a process gets; it must declare all others. */
const INHERITED = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"] as const;

/** Values for an instance's templates beyond its own. */
export interface LaunchContext {
  edgeAddress: string;
  drainMs: number;
  hostEnv: NodeJS.ProcessEnv;
}

/** Spec to launch an instance: templates filled in, facts as environment, labels to find it again. */
export function launchSpec(
  instance: Instance,
  context: LaunchContext & { secretEnv: Record<string, string>; account: Account | undefined },
): ProcessSpec {
  const { template } = instance;
  const { account, hostEnv } = context;
  const facts = factsOf(instance, context);
  const filled = (text: string) => fill(text, facts);
  const inherited = INHERITED.flatMap((key) => {
    const value = hostEnv[key];
    return value === undefined ? [] : [[key, value] as const];
  });
  const { files, core, cpu, memory, optional } = template.limits;
  const secrets = Object.entries(context.secretEnv);
  return {
    argv: Array.isArray(template.command) ? template.command.map(filled) : ["/bin/sh", "-c", filled(template.command)],
    wrap: [
      ...limitedBy({ files, core: core === undefined ? undefined : bytes(core) }),
      ...(account === undefined ? [] : runningAs(account)),
    ],
    cwd: filled(template.cwd),
    env: {
      ...Object.fromEntries(inherited),
      ...(account === undefined ? {} : { HOME: account.home, USER: account.name, LOGNAME: account.name }),
      ...factsAsEnvironment(facts),
      ...Object.fromEntries(
        Object.entries(template.secrets).map(([name, { fd }]) => [`SLUICE_FD_${name}`, String(fd)]),
      ),
      ...Object.fromEntries(Object.entries(template.env).map(([key, text]) => [key, filled(text)])),
    },
    secretEnv: Object.fromEntries(secrets.filter(([name]) => template.secrets[name] === undefined)),
    descriptors: {
      ...(account === undefined ? {} : { owner: account }),
      contents: Object.fromEntries(
        secrets.flatMap(([name, value]) => {
          const handover = template.secrets[name];
          return handover === undefined ? [] : [[handover.fd, value]];
        }),
      ),
    },
    // Also without limits: by its group all that it started is found, whatever that has done to hide.
    cgroup: {
      cpu,
      memory: memory === undefined ? undefined : bytes(memory),
      optional: optional || (cpu === undefined && memory === undefined),
    },
    labels: toLabels(instance, facts, { drainMs: context.drainMs, account }),
  };
}

/** Values that the templates of an instance can name. */
export function factsOf(instance: Instance, { edgeAddress, hostEnv }: LaunchContext): TemplateValues {
  const { release, key, index, template, port, ports } = instance;
  return {
    release,
    process: { id: key },
    replica: { index, count: template.replicas },
    port,
    ports,
    edge: { address: edgeAddress },
    hostEnv,
  };
}
