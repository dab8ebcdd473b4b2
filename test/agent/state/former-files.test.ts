import assert from "node:assert/strict";
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { codeOf } from "../../../src/model/types/errors";
import { startTestAgent, temporaryFolder } from "../../support/agent";
import { freeRange } from "../../support/ports";
import { change } from "../../support/transaction";
import { edgeStep, promote, releaseFolder } from "../support/pool";

const MIB = 1024 * 1024;

test("files of an agent that gave them other names do not stay behind", async (t) => {
  const directory = await temporaryFolder(t);
  const [ballast, keeper] = [join(directory, "ballast"), join(directory, "processes", ".keeper")];
  await writeFile(ballast, Buffer.alloc(MIB), { mode: 0o600 });
  await mkdir(join(directory, "processes"), { mode: 0o700 });
  await writeFile(keeper, "0123456789abcdef 8388608\n", { mode: 0o600 });
  const isThere = (path: string) =>
    stat(path).then(
      () => true,
      (error: unknown) => {
        assert.equal(codeOf(error), "ENOENT");
        return false;
      },
    );

  const { client } = await startTestAgent(t, { directory });
  const { size } = await stat(join(directory, "disk-reserve"));
  assert.deepEqual([size, await isThere(ballast)], [MIB, false]);
  const { from, to } = await freeRange(4);
  await change(client, "edge/main", [edgeStep(from)]);
  const path = await releaseFolder(directory);
  await promote(client, { path, ports: { from: from + 1, to }, release: "v1" });
  assert.equal(await isThere(keeper), false);
  assert.match(await readFile(join(directory, "processes", ".truncator"), "utf8"), /^[0-9a-f]{16} \d+\n$/);
});
