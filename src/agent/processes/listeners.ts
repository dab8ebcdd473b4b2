import { readdir, readFile, readlink } from "node:fs/promises";
import { isUnreadable } from "./proc-errors";

/** How the kernel's tables of sockets say that one listens. */
const LISTENS = "0A";
const IPV4_DIGITS = 8;

/** A TCP socket that listens on this host. */
export interface ListeningSocket {
  /** As people write it; `::` of a socket that takes IPv4, too. */
  address: string;
  port: number;
  inode: string;
  /** User that made it: only the same one can share its port. */
  uid: number;
}

/** Every TCP socket that listens in this process's network. */
export async function listeningSockets(): Promise<ListeningSocket[]> {
  const tables = await Promise.all(
    ["/proc/net/tcp", "/proc/net/tcp6"].map(async (file) => (await readFile(file, "latin1").catch(absent)) ?? ""),
  );
  return tables.flatMap((table) => table.split("\n").flatMap(parseRow));
}

function parseRow(row: string): ListeningSocket[] {
  const cells = row.trim().split(/\s+/);
  const [, local = "", , state, , , , uid, , inode = ""] = cells;
  const [hex = "", port = ""] = local.split(":");
  if (state !== LISTENS || hex === "") return [];
  return [{ address: addressOf(hex), port: Number.parseInt(port, 16), inode, uid: Number(uid) }];
}

/** The kernel prints each 32-bit word in the order of the host's bytes, which is little-endian wherever Node.js runs on Linux but s390x. */
function addressOf(hex: string): string {
  const words = Array.from({ length: hex.length / IPV4_DIGITS }, (_, index) =>
    [6, 4, 2, 0].map((at) => hex.slice(index * IPV4_DIGITS + at, index * IPV4_DIGITS + at + 2)).join(""),
  );
  const bytes = words.join("").match(/../g) ?? [];
  if (hex.length === IPV4_DIGITS) return bytes.map((byte) => Number.parseInt(byte, 16)).join(".");
  const groups = words.join("").match(/.{4}/g) ?? [];
  return new URL(`http://[${groups.join(":")}]/`).hostname.slice(1, -1);
}

/** Holders of sockets, by inode: several processes if it was inherited. Processes that may not be examined are left out. */
export async function holdersOf(inodes: ReadonlySet<string>): Promise<Map<string, number[]>> {
  const holders = new Map<string, number[]>();
  if (inodes.size === 0) return holders;
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const held = await socketsOf(Number(name));
    for (const inode of held) if (inodes.has(inode)) holders.set(inode, [...(holders.get(inode) ?? []), Number(name)]);
  }
  return holders;
}

/** Inodes of the sockets that a process holds; none if it may not be examined. */
export async function socketsOf(pid: number): Promise<Set<string>> {
  const folder = `/proc/${pid}/fd`;
  const links = await Promise.all(
    ((await readdir(folder).catch(absent)) ?? []).map((fd) => readlink(`${folder}/${fd}`).catch(absent)),
  );
  return new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link ?? "")?.[1] ?? []));
}

/** A process may end, may be somebody else's, and a host may have no IPv6. */
function absent(error: unknown): undefined {
  if (isUnreadable(error)) return undefined;
  throw error;
}
