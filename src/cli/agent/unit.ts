import { ASSERT_PRIVATE } from "../../agent/client/scripts";

/** Parts of an agent's systemd unit. */
export interface UnitParts {
  /** Path of Node.js, as long as that is there. */
  node: string;
  /** State folder of the agent. */
  directory: string;
  /** Folder of its socket, where that is one of systemd's own below /run. */
  runtimeDirectory?: string | undefined;
  /** Account that it runs under. @default root */
  user?: string | undefined;
}

/** System calls that neither an agent nor an app behind a proxy has business with. */
const REFUSED_CALLS = "@module @raw-io @reboot @swap @clock @cpu-emulation @obsolete";
const REFUSED_CAPABILITIES =
  "CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_BOOT CAP_SYS_TIME CAP_SYSLOG CAP_MAC_ADMIN CAP_MAC_OVERRIDE CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_LINUX_IMMUTABLE";

/** The unit of an agent. Whatever it hardens holds for the apps, too, as they are the agent's children. */
export function systemdUnit({ node, directory, runtimeDirectory, user }: UnitParts): string {
  const lines = [
    "# Written by: sluice agent install",
    "[Unit]",
    "Description=Sluice agent: supervises HAProxy and the releases on this host",
    "After=network-online.target",
    "Wants=network-online.target",
    "# It must always come back: traffic goes on without it, but unsupervised.",
    "StartLimitIntervalSec=0",
    "",
    "[Service]",
    "Type=exec",
    "# Refuses a folder that others could replace, before anything in it runs.",
    `ExecStartPre=${["/bin/sh", "-c", `${ASSERT_PRIVATE}\nassert_private "$1"`, "sh", directory].map(quoted).join(" ")}`,
    `ExecStart=${["/bin/sh", `${directory}/bin/start.sh`, directory, node].map(quoted).join(" ")}`,
    "# Reopens the log file, where one is declared.",
    "ExecReload=/bin/kill -HUP $MAINPID",
    "Environment=SLUICE_SUPERVISOR=systemd",
    ...(user === undefined ? [] : [`User=${user}`]),
    ...(runtimeDirectory === undefined
      ? []
      : [`RuntimeDirectory=${runtimeDirectory}`, "RuntimeDirectoryMode=0755", "RuntimeDirectoryPreserve=yes"]),
    "UMask=0077",
    "",
    "# HAProxy and the apps outlive the agent, and are adopted by the next one: only the agent itself is stopped.",
    "KillMode=process",
    "TimeoutStopSec=30",
    "# Exit code 75 asks for the version that is installed now; 0 is a stop on demand.",
    "Restart=on-failure",
    "RestartForceExitStatus=75",
    "RestartSec=200ms",
    "# An app that runs out of memory is restarted by the agent; it must not take the agent along.",
    "OOMPolicy=continue",
    "TasksMax=infinity",
    "LimitNOFILE=1024:1048576",
    "# The agent sets the limits of its apps within its own part of the control groups.",
    "Delegate=yes",
    "",
    "# These hold for the apps, too. Nothing here gives them another view of the file system: one of the agent's next start",
    "# would not be the same.",
    "NoNewPrivileges=yes",
    "LockPersonality=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "KeyringMode=private",
    "SystemCallArchitectures=native",
    `SystemCallFilter=~${REFUSED_CALLS}`,
    "SystemCallErrorNumber=EPERM",
    `CapabilityBoundingSet=~${REFUSED_CAPABILITIES}`,
    "",
    "[Install]",
    "WantedBy=multi-user.target",
    "",
  ];
  return lines.join("\n");
}

/** An argument as systemd reads it: quoted where it must be, specifiers and variables taken as they are. */
function quoted(argument: string): string {
  const text = argument.replaceAll("%", "%%").replaceAll("$", "$$$$");
  return /^[A-Za-z0-9_/.:=@%$+-]+$/.test(text)
    ? text
    : `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`;
}
