import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { chmod, mkdir, readFile, readlink, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { create, Header } from "tar";
import { digestOf, place } from "../../../src/provider/rollout/artifact";
import { startTestAgent, temporaryFolder } from "../../support/agent";

const silent = () => undefined;
const context = {
  log: { debug: silent, info: silent, warn: silent, error: silent, progress: silent },
  signal: new AbortController().signal,
};

/** An archive of entries that no tool would write. */
function archive(
  ...entries: {
    path: string;
    type?: "File" | "Directory" | "SymbolicLink" | "Link" | "CharacterDevice" | "BlockDevice" | "FIFO";
    linkpath?: string;
    mode?: number;
  }[]
) {
  const blocks = entries.map(({ path, type = "File", linkpath, mode = 0o644 }) => {
    const header = new Header({ path, type, mode, size: 0, ...(linkpath === undefined ? {} : { linkpath }) });
    header.encode();
    return header.block as Buffer;
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

test("an agent places what a deployer sends, once, and refuses what would leave its folder", async (t) => {
  const { client, directory } = await startTestAgent(t);
  const source = join(await temporaryFolder(t), "release");
  await mkdir(join(source, "bin"), { recursive: true });
  await writeFile(join(source, "bin", "run"), "#!/bin/sh\n", { mode: 0o755 });
  await writeFile(join(source, "@odd name"), "x".repeat(200_000));
  await symlink("bin/run", join(source, "start"));
  const send = (bytes: Buffer, digest = createHash("sha256").update(bytes).digest("hex")) =>
    client.sendArtifact(
      digest,
      (async function* () {
        yield bytes;
      })(),
    );

  await t.test("a folder, by a digest that depends on its content alone", async () => {
    const digest = await digestOf(source);
    await place(client, { path: source, digest }, context);
    const placed = join(directory, "artifacts", digest);
    assert.equal(await readFile(join(placed, "@odd name"), "utf8"), "x".repeat(200_000));
    assert.equal(await readlink(join(placed, "start")), "bin/run");
    await writeFile(join(source, "bin", "run"), "#!/bin/sh\n", { mode: 0o755 });
    assert.equal(await digestOf(source), digest);
    await writeFile(join(source, "bin", "run"), "#!/bin/sh\nexit 1\n");
    assert.notEqual(await digestOf(source), digest);
  });

  await t.test("a .tar.gz as it is, and the same one again", async () => {
    const file = join(await temporaryFolder(t), "release.tar.gz");
    await create({ cwd: source, gzip: true, file }, ["."]);
    const digest = await digestOf(file);
    assert.equal(await client.hasArtifact(digest), false);
    await place(client, { path: file, digest }, context);
    assert.equal(await client.hasArtifact(digest), true);
    await send(await readFile(file));
  });

  await t.test("what leads out of it", async () => {
    for (const [bytes, why] of [
      [archive({ path: "../evil" }), /"\.\.\/evil" leads out of the release/],
      [archive({ path: "a/../../evil" }), /leads out of the release/],
      [archive({ path: "/etc/evil" }), /is not a path within a release/],
      [archive({ path: "link", type: "SymbolicLink", linkpath: "/etc" }), /is a link out of the release/],
      [archive({ path: "a/link", type: "SymbolicLink", linkpath: "../../x" }), /is a link out of the release/],
      [
        archive({ path: "hard", type: "Link", linkpath: "/etc/passwd" }),
        /is neither a file nor a folder nor a symbolic link/,
      ],
      [archive({ path: "dev", type: "CharacterDevice" }), /is neither a file nor a folder nor a symbolic link/],
      [archive({ path: "disk", type: "BlockDevice" }), /is neither a file nor a folder/],
      [archive({ path: "pipe", type: "FIFO" }), /is neither a file nor a folder/],
      [
        archive(
          { path: "a/b/top", type: "SymbolicLink", linkpath: "../.." },
          { path: "out", type: "SymbolicLink", linkpath: "a/b/top/../etc" },
        ),
        /"out" is a link out of the release, by way of other links/,
      ],
      [
        archive({ path: "a", type: "SymbolicLink", linkpath: "b" }, { path: "b", type: "SymbolicLink", linkpath: "a" }),
        /is refused: .*(is a link in a circle|through symbolic link)/,
      ],
      [archive({ path: "root", mode: 0o4755 }), /"root" would run as its owner or group, whoever starts it/],
      [archive({ path: "group", mode: 0o2755 }), /"group" would run as its owner or group/],
      [Buffer.from("no archive at all, whatever its name says"), /the archive is refused/],
      [Buffer.alloc(0), /the archive is refused/],
    ] as const) {
      const digest = createHash("sha256").update(bytes).digest("hex");
      await assert.rejects(send(bytes), why);
      assert.equal(await client.hasArtifact(digest), false);
    }
    const shared = archive({ path: "shared", type: "Directory", mode: 0o3775 }, { path: "shared/file", mode: 0o1644 });
    await send(shared);
    const placed = join(directory, "artifacts", createHash("sha256").update(shared).digest("hex"), "shared");
    assert.deepEqual([(await stat(placed)).mode & 0o7000, (await stat(join(placed, "file"))).mode & 0o7000], [0, 0]);
    const good = archive({ path: "file" });
    await assert.rejects(send(good, "0".repeat(64)), /has digest .*, not 0{64}/);
    assert.equal(await client.hasArtifact("0".repeat(64)), false);
  });

  await t.test(
    "a file of a folder that would run as its owner, and names that are too long, before they are sent",
    async (t) => {
      const folder = join(await temporaryFolder(t), "release");
      const deep = join(folder, ...Array.from({ length: 12 }, () => "d".repeat(200)));
      await mkdir(deep, { recursive: true });
      await assert.rejects(
        digestOf(folder),
        /"d{80}\.\.\." is too long: use names of at most 255 bytes, and paths of 2048/,
      );
      await rm(join(folder, "d".repeat(200)), { recursive: true });
      await writeFile(join(folder, "su"), "");
      await chmod(join(folder, "su"), 0o4755);
      await assert.rejects(digestOf(folder), /"su" would run as its owner or group/);
    },
  );

  await t.test("one that is cut short, by a deployer that dies", async () => {
    const bytes = await readFile(join(source, "@odd name"));
    const digest = createHash("sha256").update(bytes).digest("hex");
    const cut = client.sendArtifact(
      digest,
      (async function* () {
        yield archive({ path: "file" }).subarray(0, 512);
        throw new Error("the deployer dies");
      })(),
    );
    await assert.rejects(cut);
    assert.equal(await client.hasArtifact(digest), false);
  });
});
