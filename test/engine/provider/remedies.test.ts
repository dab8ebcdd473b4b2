import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { appendFile, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import test from "node:test";
import { readStat, send } from "../../../src/agent/processes/identity";
import { statusOf } from "../../../src/cli/status/document";
import { until } from "../../support/until";
import { HostedStack } from "../support/hosted";
import { outputOf, succeeded } from "../support/site";

interface Row {
  /** What is broken by hand. */
  name: string;
  breaks: (hosted: HostedStack) => Promise<unknown>;
  /** What `sluice status` says of it, as `subject: message`. */
  says: RegExp;
  /** The resource whose change the preview shows. */
  changes: string;
}

const haproxy =
  (command: string): Row["breaks"] =>
  (hosted) =>
    hosted.haproxy(command);
/** Gives the candidate of a route or pool 1 % of its requests. */
const onePercent =
  (name: string): Row["breaks"] =>
  async (hosted) => {
    const map = /\((.*splits.*)\)/.exec(await hosted.haproxy("show map"))?.[1] ?? assert.fail();
    const entries = await hosted.haproxy(`show map ${map}`);
    const key = new RegExp(`^0x\\S+ (${name}\\S*) `, "m").exec(entries)?.[1] ?? assert.fail(entries);
    return hosted.haproxy(`set map ${map} ${key} 100`);
  };
const gone = (file: string): Row => ({
  name: `${file} is gone`,
  breaks: ({ host }) => rm(join(host, file)),
  says: new RegExp(`${file} is gone, so that no agent can start again: pulumi up installs it$`),
  changes: "sluice:index:Agent",
});

const certificateOf = ({ host }: HostedStack) => join(host, "web.pem");

/** Writes another key and certificate, as whoever renews one does. */
function renewCertificate(hosted: HostedStack): void {
  const file = certificateOf(hosted);
  const script =
    'openssl req -x509 -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.crt" -subj /CN=x && cat "$1.crt" "$1.key" > "$1"';
  execFileSync("sh", ["-ec", script, "sh", file], { stdio: "ignore" });
}

/** Each round is broken at once, and mended by one update. */
const ROUNDS: Row[][] = [
  [
    gone("bin/agent.cjs"),
    gone("bin/start.sh"),
    gone("bin/guard.sh"),
    gone("agent.json"),
    {
      name: "the config is edited",
      breaks: ({ host }) => appendFile(join(host, "edges", "main", "haproxy.cfg"), "# changed\n"),
      says: /its config is changed by hand: pulumi up puts the declared one back$/,
      changes: "sluice:index:Edge",
    },
    {
      name: "a weight is another one",
      breaks: haproxy("set server api/one weight 1"),
      says: /has weight 1, not 100: pulumi up corrects it$/,
      changes: "sluice:index:Backend",
    },
    {
      name: "a server is added",
      breaks: haproxy("add server api/extra 127.0.0.1:9; enable server api/extra"),
      says: /server extra .* was added by hand: pulumi up corrects it$/,
      changes: "sluice:index:Backend",
    },
    {
      name: "a replica is in maintenance",
      breaks: async (hosted) => {
        const [server] = Object.keys((await hosted.client.edge("main"))?.observed.backends.web ?? {});
        return hosted.haproxy(`set server web/${server} state maint`);
      },
      says: /backend web answers every request with 503: .* in maintenance by hand\); pulumi up corrects it$/,
      changes: "sluice:index:Pool",
    },
    {
      name: "a split is another one",
      breaks: onePercent("half"),
      says: /^route half: edge main gives the candidate 1% instead of 50%: pulumi up corrects it$/,
      changes: "sluice:index:Route",
    },
    {
      name: "the share of a pool's candidate is another one",
      breaks: onePercent("shared"),
      says: /^pool shared: its edge gives the candidate 1% instead of 50%: pulumi up corrects it$/,
      changes: "sluice:index:Pool",
    },
  ],
  [
    {
      name: "the guard is gone",
      breaks: async ({ client }) => send(readStat((await client.about()).pid)?.parent ?? assert.fail(), "SIGKILL"),
      says: /nothing restarts it when it dies: run pulumi up/,
      changes: "sluice:index:Agent",
    },
    {
      name: "a frontend is disabled",
      breaks: haproxy("disable frontend http"),
      says: /its frontend http is disabled: pulumi up opens it$/,
      changes: "sluice:index:Edge",
    },
    {
      name: "the shares on disk are edited",
      breaks: async ({ host }) => {
        const path = join(host, "edges", "main", "splits.map");
        await writeFile(path, (await readFile(path, "utf8")).replaceAll("5000", "100"));
      },
      says: /^edge main: its config is changed by hand: pulumi up puts the declared one back$/,
      changes: "sluice:index:Edge",
    },
  ],
  [
    {
      name: "a certificate is renewed",
      breaks: async (hosted) => renewCertificate(hosted),
      says: /^edge main: its config is without a renewed certificate: pulumi up puts the declared one back$/,
      changes: "sluice:index:Edge",
    },
    {
      name: "a health check is off",
      breaks: haproxy("disable health api/one"),
      says: /is not health-checked: pulumi up corrects it$/,
      changes: "sluice:index:Backend",
    },
  ],
  [
    {
      name: "the only server is in maintenance",
      breaks: haproxy("set server api/one state maint"),
      says: /backend api answers every request with 503: .* in maintenance by hand\); pulumi up corrects it$/,
      changes: "sluice:index:Backend",
    },
  ],
  [
    {
      name: "the only server has weight 0",
      breaks: haproxy("set server api/one weight 0"),
      says: /backend api answers every request with 503: .*weight 0\); pulumi up corrects it$/,
      changes: "sluice:index:Backend",
    },
  ],
];

test("pulumi up mends whatever status says it mends, and the preview shows it", async (t) => {
  const hosted = await HostedStack.create(t);
  const { stack } = hosted;
  const server = createServer((_, response) => response.end("ok"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  renewCertificate(hosted);
  const secure = {
    binds: [{ port: hosted.port + 12, tls: { certificate: certificateOf(hosted) } }],
    defaultBackend: "api",
  };
  const { frontends } = hosted.edge() as { frontends: object };
  const shared = hosted.pool("v1", {
    ports: { from: hosted.port + 13, to: hosted.port + 22 },
    canary: { release: hosted.release("v2"), stages: [{ split: "50%", window: "0 seconds", gates: [] }], stage: "50%" },
  });
  await hosted.declare({
    edges: { main: hosted.edge({ frontends: { ...frontends, secure } }) },
    backends: {
      api: {
        edge: "main",
        health: { path: "/", interval: "100 milliseconds", rise: 1, fall: 1 },
        servers: { one: { address: "127.0.0.1", port: (server.address() as AddressInfo).port } },
      },
    },
    pools: { web: hosted.pool("v1"), shared },
    routes: {
      half: {
        edges: ["main"],
        match: { pathPrefix: "/half" },
        stable: "web",
        candidate: "api",
        stages: [{ split: "50%", window: "0 seconds", gates: [] }],
        stage: "50%",
      },
    },
  });
  succeeded(await stack.up());
  const problems = async () =>
    statusOf(await hosted.client.status(), hosted.socket, new Date()).problems.map(
      ({ subject, message }) => `${subject}: ${message}`,
    );
  assert.deepEqual(await problems(), []);
  const untilGood = () =>
    until("everything to be good", async () => {
      const found = await problems();
      if (found.length > 0) throw new Error(found.join("\n"));
      return true;
    });
  await untilGood();
  for (const round of ROUNDS)
    await t.test(round.map(({ name }) => name).join(", "), async () => {
      for (const { breaks } of round) await breaks(hosted);
      for (const { says } of round)
        await until("status to say it", async () => {
          const found = await problems();
          if (!found.some((each) => says.test(each))) throw new Error(found.join("\n"));
          return true;
        });
      const preview = outputOf(succeeded(await stack.preview()));
      for (const { changes } of round) assert.match(preview, new RegExp(`~ +${changes} \\S+ update`), preview);
      succeeded(await stack.up());
      await untilGood();
    });
  assert.match(succeeded(await stack.preview()).stdout, /Resources:\n +\d+ unchanged\n/);
});
