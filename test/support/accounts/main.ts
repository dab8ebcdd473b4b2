// Runs in a mount namespace of its own, whose accounts come from a second source beside /etc: see ../accounts.test.ts.
import { execFile } from "node:child_process";
import { appendFile, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { promisify } from "node:util";
import { listenOnSocket } from "../../../src/agent/api/socket";
import { hostFacts } from "../../../src/agent/haproxy/config/host-facts";
import { accountOf, runningAs } from "../../../src/agent/pools/launch/account";
import { agentOptions } from "../../../src/model/protocol/agent";
import { findGroup, findUser, groupsOf } from "../../../src/support/accounts";

const run = promisify(execFile);
const [directory = ""] = process.argv.slice(2);

/** Report about itself of a process that is launched as a user now. */
async function launched(user: string, group?: string): Promise<string> {
  const [program = "", ...args] = [...runningAs(await accountOf(user, group)), "id"];
  return (await run(program, args, { cwd: "/" })).stdout.trim();
}

async function socketOf(owner: string, group: string): Promise<[number, number]> {
  const server = createServer();
  const socket = `${directory}/a.sock`;
  await listenOnSocket(server, agentOptions.parse({ socket, owner, group }));
  const { uid, gid } = await stat(socket);
  await new Promise((resolve) => server.close(resolve));
  return [uid, gid];
}

async function failureOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "none",
    (error: Error) => error.message,
  );
}

async function main(): Promise<void> {
  const user = await findUser("directory.user");
  const found = {
    user,
    byNumber: await findUser("51234"),
    group: await findGroup("directory-group"),
    nobody: await findUser("no-such-user"),
    noName: await findUser("--help"),
    facts: (await hostFacts()).account,
    socket: await socketOf("directoryuser", "directory-group"),
    launched: await launched("directory.user"),
    launchedWithGroup: await launched("directory.user", "directory-group"),
  };
  await appendFile("/var/lib/extrausers/group", "added-later:x:51239:directory.user\n");
  const launchedLater = await launched("directory.user");

  await writeFile(`${directory}/hangs`, "#!/bin/sh\nexec sleep 1000\n", { mode: 0o755 });
  await run("mount", ["--bind", `${directory}/hangs`, "/usr/bin/getent"]);
  const hangs = await failureOf(findUser("directory.user"));
  await run("umount", ["/usr/bin/getent"]);

  // Nothing but id is left there.
  await run("mount", ["--bind", `${directory}/bin`, "/usr/bin"]);
  const withoutGetent = {
    root: await findUser("root"),
    rootByNumber: await findUser("0"),
    group: await findGroup("root"),
    groups: await groupsOf({ name: "root", uid: 0, gid: 0, home: "/" }),
    directoryUser: (await findUser("directory.user")) ?? "none",
  };
  process.stdout.write(`${JSON.stringify({ ...found, launchedLater, hangs, withoutGetent })}\n`);
}

void main();
