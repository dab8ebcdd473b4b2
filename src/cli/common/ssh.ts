import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { lstat, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { killOnParentExit } from "../../support/kill-on-parent-exit";
import { waitFor } from "../../support/waiting";
import { NotReached, UsageError } from "./exit";
import { beforeSignalsEnd } from "./interrupt";
import { onlyOne, SYSTEM_SOCKET } from "./sockets";

/** Time for ssh to log in, in milliseconds. */
const LOGIN_MS = 30_000;
const POLL_MS = 25;
const KEPT_OUTPUT = 2000;

/** An ssh destination; nothing that ssh could take for an option, or a shell for more than one word. */
const DESTINATION = /^(?:ssh:\/\/)?(?:[A-Za-z0-9._][A-Za-z0-9._-]*@)?[A-Za-z0-9[][A-Za-z0-9.:%_[\]-]*$/;

/** A host's identity is never taken on trust, and nobody is asked for a password. Everything else is the user's own config. */
const OPTIONS = [
  ["BatchMode", "yes"],
  ["StrictHostKeyChecking", "yes"],
  ["ConnectTimeout", "10"],
  ["ServerAliveInterval", "5"],
  ["ServerAliveCountMax", "3"],
  ["ControlMaster", "no"],
  ["ControlPath", "none"],
  ["PermitLocalCommand", "no"],
  ["ForwardAgent", "no"],
  ["ForwardX11", "no"],
].flatMap(([name, value]) => ["-o", `${name}=${value}`]);

/** Prints the sockets of agents on a host; a fixed text, which no input reaches. */
const FIND_SOCKETS = `for each in "$SLUICE_SOCKET" ${SYSTEM_SOCKET} "$HOME"/.sluice/hosts/*/agent.sock; do [ -S "$each" ] && printf "%s\\n" "$each"; done; true`;

export interface Tunnel {
  /** Local path that leads to the agent's socket; only this user can enter its folder. */
  socket: string;
  /** Output of ssh so far. */
  printed(): string;
  close(): Promise<void>;
}

/** Forwards an agent's socket on another host to a private one here. */
export async function openTunnel(host: string, remoteSocket: string | undefined): Promise<Tunnel> {
  assertHost(host);
  const remote = remoteSocket ?? (await findRemoteSocket(host));
  if (!/^\/[^:\0\s]*$/.test(remote))
    throw new UsageError([
      `--socket ${JSON.stringify(remote)} can't be reached over ssh: give an absolute path without colons and spaces`,
    ]);
  const folder = await mkdtemp(join(tmpdir(), "sluice-ssh-"));
  const socket = join(folder, "a.sock");
  const args = [...OPTIONS, "-o", "ExitOnForwardFailure=yes", "-o", "StreamLocalBindMask=0177", "-N", "-T"];
  const ssh = start([...args, "-L", `${socket}:${remote}`, "--", host]);
  const listening = beforeSignalsEnd(() => rmSync(folder, { recursive: true, force: true }));
  const close = async () => {
    listening();
    await ssh.end();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await untilForwarded(ssh, socket, host);
    return { socket, printed: ssh.printed, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function assertHost(host: string): void {
  if (DESTINATION.test(host)) return;
  throw new UsageError([
    `--host ${JSON.stringify(host)} is not an ssh destination: give host, user@host, or a name of your ssh config`,
  ]);
}

async function findRemoteSocket(host: string): Promise<string> {
  const ssh = start([...OPTIONS, "-T", "--", host, `sh -c '${FIND_SOCKETS}'`]);
  const code = await ssh.ended;
  if (code !== 0) throw refused(host, ssh.printed());
  const found = [...new Set(ssh.output().split("\n").filter(Boolean))];
  return onlyOne(found, `on ${host}`, `looked for ${SYSTEM_SOCKET} and ~/.sluice/hosts/*/agent.sock there`);
}

interface Running {
  printed(): string;
  output(): string;
  ended: Promise<number>;
  code(): number | undefined;
  end(): Promise<void>;
}

function start(args: readonly string[]): Running {
  const child = spawn("ssh", args, {
    stdio: ["ignore", "pipe", "pipe"],
    // Ctrl-C is for the verb, which then ends ssh.
    detached: true,
  });
  let printed = "";
  const letGo = killOnParentExit(child, ({ message }) => {
    printed += `ssh would go on if this process died: ${message}\n`;
  });
  let output = "";
  let code: number | undefined;
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    printed = (printed + text).slice(-KEPT_OUTPUT);
  });
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output = (output + text).slice(-KEPT_OUTPUT);
  });
  const ended = new Promise<number>((resolve) => {
    child.once("error", ({ message }) => {
      printed += message;
    });
    // A program that could not be started is closed, too.
    child.once("close", (status) => {
      letGo();
      code = status ?? 255;
      resolve(code);
    });
  });
  return {
    printed: () => printed,
    output: () => output,
    ended,
    code: () => code,
    end: async () => {
      child.kill();
      await ended;
    },
  };
}

async function untilForwarded(ssh: Running, socket: string, host: string): Promise<void> {
  const isBound = () => {
    if (ssh.code() !== undefined) throw refused(host, ssh.printed());
    // Bound only once ssh has logged in.
    return lstat(socket).then(
      () => true,
      () => false,
    );
  };
  if (await waitFor(isBound, { everyMs: POLL_MS, deadlineMs: LOGIN_MS })) return;
  throw new NotReached(`${host} did not let ssh in within ${LOGIN_MS / 1000} s: try "ssh ${host}" by hand`);
}

function refused(host: string, printed: string): NotReached {
  if (/spawn ssh ENOENT/.test(printed))
    return new NotReached("--host needs the ssh command, which is not installed: install openssh-client");
  const why = lastLine(printed);
  if (/host key verification failed|no .* host key is known|identification has changed/i.test(printed))
    return new NotReached(
      `the host key of ${host} is unknown, or differs from the known one (${why}): compare it with the host's own, and add it to ~/.ssh/known_hosts; Sluice accepts no unknown key`,
    );
  return new NotReached(
    `${host} can't be reached by ssh (${why || "without a message"}): try "ssh -o BatchMode=yes ${host} true"`,
  );
}

export function lastLine(text: string): string {
  return text.trim().split("\n").at(-1)?.trim() ?? "";
}
