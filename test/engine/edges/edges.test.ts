import assert from "node:assert/strict";
import { appendFile, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { PROTOCOL } from "../../../src/model/protocol/transaction";
import { until } from "../../support/until";
import { stepsOf } from "../support/engine";
import { HostedStack } from "../support/hosted";
import { outputOf, succeeded } from "../support/site";

/** A server that Sluice does not run: it takes its time for `/slow` and lists its requests. */
async function externalServer(t: TestContext) {
  const requests: string[] = [];
  const server = createServer({ keepAliveTimeout: 75_000 }, (request, response) => {
    requests.push(request.url ?? "");
    response.writeHead(200, { "x-release": "external" });
    response.write("begin ");
    setTimeout(() => response.end("end"), request.url === "/slow" ? 1500 : 0);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return { port: (server.address() as { port: number }).port, requests };
}

async function worker(hosted: HostedStack): Promise<number | undefined> {
  return (await hosted.client.edge("main"))?.observed.worker?.pid;
}

test("an edge and a backend of servers that something else runs", async (t) => {
  const hosted = await HostedStack.create(t);
  const { stack, port } = hosted;
  const { port: target, requests } = await externalServer(t);
  const edge = { frontends: { http: { binds: [{ port }], defaultBackend: "api" } } };
  const server = { address: "127.0.0.1", port: target };
  const api = (servers: object = { one: server }) => ({ api: { edge: "main", drainDeadline: "10 seconds", servers } });

  await t.test("come up, with a port that the preview does not know", async () => {
    const later = { frontends: { http: { binds: [{ port: { $later: port } }], defaultBackend: "api" } } };
    await hosted.declare({ edges: { main: later }, backends: api() });
    const preview = await stack.preview("--diff");
    assert.equal(preview.exit, 0, preview.stdout);
    assert.match(preview.stdout, /port *: \[unknown\]/);
    assert.equal((await stack.up()).exit, 0);
    assert.equal((await hosted.ask()).text, "begin end");
    await hosted.declare({ edges: { main: edge }, backends: api() });
    const same = await stack.preview("--diff");
    assert.match(same.stdout, /6 unchanged/);
  });

  await t.test("what was changed by hand shows in the preview and in a refresh, and an update mends it", async () => {
    const config = path.join(hosted.host, "edges", "main", "haproxy.cfg");
    const written = await readFile(config, "utf8");
    await appendFile(config, "# by hand\n");
    await hosted.haproxy("disable frontend http");
    await hosted.haproxy("set server api/one weight 5");
    await hosted.haproxy("add server api/two 127.0.0.1:9");
    const preview = await stack.preview("--diff");
    assert.match(preview.stdout, /~ config *: "changed by hand" => "as declared"/);
    assert.match(preview.stdout, /~ http: "disabled" => "open"/);
    assert.match(preview.stdout, /~ weight: 5 => 100/);
    assert.match(preview.stdout, /- two: {/);
    assert.equal((await stack.refresh()).exit, 0);
    const [recorded] = await hosted.recorded("Edge");
    assert.deepEqual(recorded?.outputs?.live, {
      haproxy: "running",
      config: "changed by hand",
      frontends: { http: "disabled" },
    });
    assert.equal((await stack.up()).exit, 0);
    assert.equal((await hosted.ask()).text, "begin end");
    assert.equal(await readFile(config, "utf8"), written);
    assert.match((await stack.preview("--diff")).stdout, /6 unchanged/);
  });

  await t.test("a backend's servers change live", async () => {
    const before = await worker(hosted);
    const two = { ...server, weight: 50 };
    await hosted.declare({ edges: { main: edge }, backends: api({ one: { ...server, weight: 7 }, two }) });
    const preview = await stack.preview("--diff");
    assert.match(preview.stdout + preview.stderr, /applied by the runtime API, without a reload/);
    assert.equal((await stack.up()).exit, 0);
    assert.deepEqual((await hosted.client.backend("main", "api"))?.live.servers, {
      one: { address: `127.0.0.1:${target}`, state: "ready", weight: 7 },
      two: { address: `127.0.0.1:${target}`, state: "ready", weight: 50 },
    });
    assert.equal(await worker(hosted), before);
  });

  await t.test("two edges on one address are refused at the preview", async () => {
    await hosted.declare({ edges: { main: edge, other: edge }, backends: api() });
    const { exit, stdout } = await stack.preview();
    assert.notEqual(exit, 0);
    assert.ok(stdout.includes(`127.0.0.1:${port} is the address of edge main on this host: use another port`), stdout);
  });

  await t.test("a renamed edge is refused, unless it keeps its name on the host", async () => {
    await hosted.declare({
      edges: { front: { ...edge, $alias: "main" } },
      backends: { api: { ...api().api, edge: "front" } },
    });
    const { exit, stdout } = await stack.preview();
    assert.notEqual(exit, 0);
    assert.match(stdout, /main-edge|front-edge/);
    assert.match(stdout, /name: main can't become front/);
    const before = await worker(hosted);
    await hosted.declare({
      edges: { front: { ...edge, $alias: "main", name: "main" } },
      backends: { api: { ...api().api, edge: "front" } },
    });
    const kept = await stack.up();
    assert.equal(kept.exit, 0, kept.stdout);
    assert.equal(await worker(hosted), before);
    assert.equal((await hosted.ask()).text, "begin end");
  });

  await t.test("a removed backend finishes what it has", async () => {
    const slow = hosted.ask("/slow");
    await until("the slow request to arrive", () => requests.includes("/slow"));
    await hosted.declare({ edges: { front: { ...edge, $alias: "main", name: "main" } } });
    const removed = await stack.up();
    assert.equal(removed.exit, 0, removed.stdout);
    assert.equal((await slow).text, "begin end");
    assert.equal((await hosted.ask()).status, 503);
    assert.equal(await hosted.client.backend("main", "api"), undefined);
  });
});

test("an agent is replaced by another version while apps and traffic go on; pools share nothing", async (t) => {
  const hosted = await HostedStack.create(t);
  const { stack, port } = hosted;
  const web = hosted.pool("v1");
  await hosted.declare({ edges: { main: hosted.edge() }, pools: { web } });
  assert.equal((await stack.up()).exit, 0);

  await t.test("another version shows in the preview, and an update brings the installed one", async () => {
    // The same program with another version and another protocol.
    const file = path.join(hosted.host, "agent.json");
    const config = JSON.parse(await readFile(file, "utf8"));
    await writeFile(file, JSON.stringify({ ...config, version: "0.0.9+00000000" }));
    const program = path.join(hosted.host, "bin", "agent.cjs");
    const parts = (await readFile(program, "utf8")).split(`PROTOCOL = ${PROTOCOL};`);
    assert.equal(parts.length, 2);
    await writeFile(program, parts.join(`PROTOCOL = ${PROTOCOL - 1};`));
    const [before, haproxy] = [await hosted.client.about(), await worker(hosted)];
    await hosted.client.shutdown({ restart: true });
    const old = await until("the other version to run", async () => {
      const about = await hosted.client.about();
      return about.pid === before.pid ? undefined : about;
    });
    assert.equal(old.version, "0.0.9+00000000");
    const { pid } = await hosted.ask();
    const preview = await stack.preview("--diff");
    assert.ok(preview.stdout.includes(`~ version: "0.0.9+00000000" => "${config.version}"`), preview.stdout);
    assert.equal(preview.exit, 0, preview.stdout);
    assert.match(
      outputOf(preview).replaceAll(/\s+/g, " "),
      /speaks protocol 1, but its client speaks 2: update the host's /,
    );
    // A pool that changes in the same update is promoted by the agent that replaces this one.
    await hosted.declare({ edges: { main: hosted.edge() }, pools: { web: { ...web, drainDeadline: "9 seconds" } } });
    succeeded(await stack.up());
    assert.equal((await hosted.client.pool("web"))?.live.release, "v1");
    const now = await hosted.client.about();
    assert.equal(now.version, config.version);
    assert.notEqual(now.pid, old.pid);
    assert.equal((await hosted.ask()).pid, pid);
    assert.equal(await worker(hosted), haproxy);
  });

  await t.test("pools with overlapping ports are refused at the preview", async () => {
    const other = hosted.pool("v1", { ports: { from: port + 5, to: port + 15 } });
    await hosted.declare({ edges: { main: hosted.edge() }, pools: { web, other } });
    const { exit, stdout } = await stack.preview();
    assert.notEqual(exit, 0);
    assert.ok(stdout.includes(`ports: ${port + 5}-${port + 15} overlaps ${port + 1}-${port + 10} of pool web`), stdout);
  });

  await t.test("a resource of another stack is not taken over", async () => {
    const neighbour = await hosted.neighbour(t);
    const { pid } = await hosted.client.about();
    await neighbour.declare({ edges: { main: neighbour.edge({ maxConnections: 100 }) } });
    const { exit, stdout } = await neighbour.stack.up();
    assert.notEqual(exit, 0, stdout);
    assert.match(stdout, /name: edge\/main .*urn:pulumi:dev::test::/);
    // The agent that both declare is what the other one wants as it is.
    assert.equal((await hosted.client.about()).pid, pid);
    const destroyed = await neighbour.stack.destroy();
    assert.equal(destroyed.exit, 0, destroyed.stdout);
    assert.match(destroyed.stdout, /the agent of .* goes on: urn:pulumi:dev::test::.* declares it too/);
    assert.equal((await hosted.client.about()).pid, pid);
    assert.equal((await hosted.ask()).release, "v1");
  });

  await t.test("an import says what to do instead", async () => {
    const { exit, stdout, stderr } = await stack.start("import", "sluice:index:Pool", "web2", "web").finished;
    assert.notEqual(exit, 0);
    assert.match(stdout + stderr, /can't be imported/);
  });

  await t.test("a pool leaves without a cut: its open response ends, then its processes stop", async () => {
    await hosted.declare({ edges: { main: hosted.edge() } });
    const slow = hosted.ask("/slow");
    await until("the request to be under way", async () => {
      const servers = Object.values((await hosted.client.edge("main"))?.observed.backends.web ?? {});
      return servers.some(({ sessions }) => sessions > 0);
    });
    const removed = await stack.up();
    assert.equal(removed.exit, 0, removed.stdout);
    assert.deepEqual([(await slow).status, (await slow).text], [200, "v1"]);
    assert.equal(await hosted.client.pool("web"), undefined);
    assert.equal(stepsOf(removed, "sluice:index:Pool").at(-1)?.op, "delete");
    assert.equal((await stack.destroy()).exit, 0);
    await assert.rejects(hosted.client.about(), /can't be reached/);
  });
});
