import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";
import type { SetupContext } from "../../tools/setup/setup.mjs";

/** A machine that has only what a test puts on it: an empty PATH, home and system folder, and no network. */
export interface FakeMachine {
  folder: string;
  /** Its PATH consists of this folder. */
  bin: string;
  /** Folder in which systems put HAProxy, off PATH. */
  sbin: string;
  messages: string[];
  context: SetupContext;
}

/** Nothing listens on port 1 of the loopback interface, so that the site is unreachable at once. */
const UNREACHABLE_SITE = "http://127.0.0.1:1";

export function fakeMachine(t: TestContext, machine: Partial<SetupContext["machine"]> = {}): FakeMachine {
  const folder = mkdtempSync(path.join(tmpdir(), "sluice-setup-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const bin = path.join(folder, "bin");
  const sbin = path.join(folder, "sbin");
  for (const each of [bin, sbin]) mkdirSync(each);
  const messages: string[] = [];
  const context: SetupContext = {
    root: folder,
    env: { PATH: bin, HOME: folder },
    say: (text) => messages.push(text),
    machine: {
      isRoot: false,
      systemFolders: [sbin],
      pulumiSite: UNREACHABLE_SITE,
      pulumiDigests: { [`${process.platform}-${process.arch}`]: "0".repeat(64) },
      ...machine,
    },
  };
  return { folder, bin, sbin, messages, context };
}

/** Stands in for an executable that cannot be had in the state that a test needs, such as an old release. */
export function double(folder: string, name: string, script: string): string {
  const file = path.join(folder, name);
  mkdirSync(folder, { recursive: true });
  writeFileSync(file, `#!/bin/sh\nPATH=/usr/bin:/bin\n${script}\n`);
  chmodSync(file, 0o755);
  return file;
}

export const pulumiDouble = (folder: string, version: string) => double(folder, "pulumi", `echo v${version}`);

export const languageHostDouble = (folder: string) => double(folder, "pulumi-language-nodejs", "exit 1");

export const haproxyDouble = (folder: string, version: string) =>
  double(folder, "haproxy", `echo "HAProxy version ${version}-1+deb12u4 2026/10/17 - https://haproxy.org/"`);

/**
 * A compiler that writes scripts instead of programs, and notes each build in `go.log` and its pid in `go.pid`.
 *
 * @param pause seconds that a build takes
 */
export function goDouble({ bin, folder }: FakeMachine, pulumiVersion: string, pause = 0): string {
  const dist = path.join(folder, "module", "nodejs", "dist");
  for (const name of ["pulumi-analyzer-policy", "pulumi-resource-pulumi-nodejs"]) double(dist, name, "exit 1");
  return double(
    bin,
    "go",
    `if [ "$1" = list ]; then echo ${path.join(folder, "module")}; exit; fi
echo $$ > ${path.join(folder, "go.pid")}
echo "$@" >> ${path.join(folder, "go.log")}
while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\\necho v${pulumiVersion}\\n' > "$2"
chmod 755 "$2"
sleep ${pause}`,
  );
}
