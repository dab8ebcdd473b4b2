import { spawn, spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { userInfo } from "node:os";
import { join } from "node:path";
import { type Cleanup, temporaryFolder } from "../../support/agent";
import { freePorts } from "../../support/ports";
import { until } from "../../support/until";

const SSHD = "/usr/sbin/sshd";

/** Why there can be no ssh server of a test's own here; false where there can. */
export function withoutSshd(): string | false {
  try {
    accessSync(SSHD, constants.X_OK);
    return false;
  } catch {
    return "needs openssh-server: apt-get install openssh-server";
  }
}

export interface SshServer {
  /** To be put first in PATH: its `ssh` is the system's, with the test's config. The host is called `box` there; nothing answers on `closed`. */
  path: string;
  /** Makes the server's host key known, or forgets it. */
  trust(known: boolean): Promise<void>;
}

/**
 * A ssh server on a loopback port, with keys of its own.
 *
 * @param environment of whoever logs in
 */
export async function startSshd(t: Cleanup, environment: Record<string, string>): Promise<SshServer> {
  const folder = await temporaryFolder(t);
  const file = (name: string) => join(folder, name);
  for (const name of ["host", "user"])
    spawnSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", file(name)], { stdio: "inherit" });
  const port = await freePorts(1);
  // The package's own server makes it, but may never have run.
  if (process.getuid?.() === 0) await mkdir("/run/sshd", { recursive: true, mode: 0o755 });
  await writeFile(file("authorized"), await readFile(file("user.pub"), "utf8"));
  await writeFile(
    file("sshd_config"),
    [
      `ListenAddress 127.0.0.1:${port}`,
      `HostKey ${file("host")}`,
      `AuthorizedKeysFile ${file("authorized")}`,
      `PidFile ${file("pid")}`,
      "StrictModes no",
      "UsePAM no",
      "PermitRootLogin prohibit-password",
      "PasswordAuthentication no",
      "AllowStreamLocalForwarding yes",
      ...Object.entries(environment).map(([name, value]) => `SetEnv ${name}=${value}`),
      "",
    ].join("\n"),
  );
  await writeFile(
    file("config"),
    [
      "Host box",
      "  HostName 127.0.0.1",
      `  Port ${port}`,
      `  User ${userInfo().username}`,
      `  IdentityFile ${file("user")}`,
      "  IdentitiesOnly yes",
      `  UserKnownHostsFile ${file("known")}`,
      "  GlobalKnownHostsFile /dev/null",
      // Ignore a careless user's config.
      "  StrictHostKeyChecking no",
      "Host closed",
      "  HostName 127.0.0.1",
      "  Port 1",
      "",
    ].join("\n"),
  );
  await mkdir(file("bin"));
  await writeFile(file("bin/ssh"), `#!/bin/sh\nexec /usr/bin/ssh -F ${file("config")} "$@"\n`, { mode: 0o755 });
  const server = spawn(SSHD, ["-D", "-e", "-f", file("sshd_config")], { stdio: "ignore" });
  t.after(() => server.kill("SIGKILL"));
  await until("sshd to listen", () => accepts(port), { deadlineMs: 60_000 });
  return {
    path: file("bin"),
    trust: async (known) => {
      const [type = "", key = ""] = (await readFile(file("host.pub"), "utf8")).split(" ");
      await writeFile(file("known"), known ? `[127.0.0.1]:${port} ${type} ${key}\n` : "");
    },
  };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(port, "127.0.0.1");
    connection.once("connect", () => {
      connection.destroy();
      resolve(true);
    });
    connection.once("error", () => resolve(false));
  });
}
