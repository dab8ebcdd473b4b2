import { runAgent } from "./daemon/start";
import { MIRROR_ARGUMENT } from "./mirror/mirror";
import { FolderLocked } from "./state/folder-lock";

function run(directory: string | undefined): void {
  if (directory === undefined) {
    process.stderr.write("usage: agent STATE_FOLDER\n");
    process.exit(2);
  }
  runAgent(directory).catch((error: unknown) => {
    // Tells in the guard's log which agent failed, since several write to it.
    process.stderr.write(
      `the agent of guard ${process.ppid} can't start: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    // The agent that has the folder has a guard of its own.
    process.exit(error instanceof FolderLocked ? 0 : 1);
  });
}

const argument = process.argv[2];
// Loaded only here, since the agent itself would carry it in its memory without use.
if (argument === MIRROR_ARGUMENT) void import("./mirror/process").then(({ runMirrorProcess }) => runMirrorProcess());
else run(argument);
