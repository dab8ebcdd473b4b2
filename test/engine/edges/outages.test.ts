import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { readStat, send } from "../../../src/agent/processes/identity";
import { fallsBack, isOut } from "../../../src/model/edge/backend-health";
import { until } from "../../support/until";
import { HostedStack } from "../support/hosted";

async function listening(t: TestContext): Promise<{ server: Server; at: object }> {
  const server = createServer((_, response) => response.end("ok"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  t.after(close);
  return { server, at: { address: "127.0.0.1", port: (server.address() as AddressInfo).port } };
}

test("a preview warns of backends that answer with 503, and says whether the update mends it", async (t) => {
  const hosted = await HostedStack.create(t);
  const { stack, client } = hosted;
  const [api, beta] = [await listening(t), await listening(t)];
  const declare = (only: object = {}, stage = "50%") =>
    hosted.declare({
      edges: { main: hosted.edge({ frontends: { http: { binds: [{ port: hosted.port }], defaultBackend: "api" } } }) },
      backends: {
        api: { edge: "main", servers: { one: api.at } },
        beta: {
          edge: "main",
          health: { path: "/", interval: "100 milliseconds", fall: 1 },
          servers: { only: { ...beta.at, ...only } },
        },
      },
      routes: {
        next: {
          edges: ["main"],
          match: { pathPrefix: "/next" },
          stable: "api",
          candidate: "beta",
          stages: [{ split: "50%", window: "0 seconds", gates: [] }],
          stage,
        },
      },
    });
  const preview = async () => {
    const { exit, stdout, stderr } = await stack.preview("--diff");
    assert.equal(exit, 0, stdout);
    return `${stdout}${stderr}`.replaceAll(/\s+/g, " ");
  };
  const untilOut = (backend: string, check = isOut) =>
    until(`backend ${backend} to be out`, async () => {
      const health = (await client.edge("main"))?.backends?.[backend];
      return health !== undefined && check(health);
    });
  await declare();
  const up = await stack.up();
  assert.equal(up.exit, 0, up.stdout);
  assert.doesNotMatch(await preview(), /503/);

  await t.test("what was changed by hand is mended by the update", async () => {
    await hosted.haproxy("set server api/one state maint");
    await untilOut("api");
    const output = await preview();
    const now =
      "warning: edge main: backend api answers every request with 503: its only server takes none (one in maintenance by hand). ";
    for (const repaired of [
      "The update of this backend mends that: it has one take requests",
      "The update of this edge mends that: it corrects manual changes in HAProxy",
      "The update of this route mends that: it corrects manual changes in HAProxy",
    ])
      assert.ok(output.includes(now + repaired), `${repaired}\n${output}`);
    assert.equal((await stack.up()).exit, 0);
    assert.equal((await hosted.ask()).status, 200);
    assert.doesNotMatch(await preview(), /503/);
  });

  await t.test("a candidate whose servers are down is not, unless requests are led elsewhere", async () => {
    beta.server.closeAllConnections();
    beta.server.close();
    await untilOut("beta", fallsBack);
    const now =
      "warning: edge main: candidate beta of route next takes no requests (only DOWN: L4CON): its share goes to the stable backend. ";
    const output = await preview();
    assert.equal((await hosted.ask()).status, 200);
    assert.match(output, /50%, all to stable while the candidate takes none/);
    for (const kind of ["backend", "route"])
      assert.ok(output.includes(`${now}The update of this ${kind} does not mend that: its servers must run,`), output);
    await declare({}, "stable");
    assert.ok(
      (await preview()).includes(
        `${now}The update of this route mends that: it leads the requests of the route elsewhere`,
      ),
    );
  });

  await t.test("an agent without its reserve on the disk, and without a guard, is warned of", async () => {
    const { pid, directory } = await client.about();
    await rm(join(directory, "disk-reserve"));
    send(readStat(pid)?.parent ?? assert.fail(), "SIGKILL");
    await until("the agent to be alone", async () => !(await client.about()).guarded);
    const output = await preview();
    assert.ok(output.includes(`warning: the agent of ${directory}: the disk space in reserve for an undo`), output);
    const alone = `warning: the agent of ${directory}: nothing restarts it when it dies. The update of this agent mends that`;
    assert.ok(output.includes(alone), output);
    assert.equal((await stack.up()).exit, 0);
    assert.doesNotMatch(await preview(), /the agent of/);
  });
});
