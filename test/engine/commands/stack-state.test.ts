import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { commandTable } from "./support/table";
import type { Change, Whole } from "./support/whole";

/** An update finds the live state, so it has nothing to do. */
const NOTHING = "--expect-no-changes";

commandTable("commands about a stack's state, while requests go on", (whole) => [
  {
    name: "an older state restored: stack import, and up without a refresh brings back what is declared",
    run: async ({ stack }) => {
      await whole.declare();
      await whole.must(stack.up());
      const { stdout } = await whole.must(stack.run("stack", "export", "--stack", "dev"));
      await whole.declare(await newer(whole));
      await whole.must(stack.up());
      await stack.write("older.json", stdout);
      await whole.must(stack.run("stack", "import", "--stack", "dev", "--file", "older.json"));
      await whole.declare();
      const { stdout: preview } = await whole.must(stack.preview());
      for (const says of NEWER) assert.match(preview, says);
      return stack.up("--refresh=false");
    },
    renews: "haproxy",
    look: async () => {
      const { options } = await whole.clients.agent.about();
      assert.equal(options.evidence, undefined);
      await whole.must(whole.stack.up(NOTHING));
    },
  },
  {
    name: "passphrase changed, and up",
    run: async ({ stack }) => {
      stack.use({ PULUMI_TEST_PASSPHRASE: "true" });
      await whole.must(stack.answer("new\nnew\n", "stack", "change-secrets-provider", "passphrase", "--stack", "dev"));
      stack.use({ PULUMI_CONFIG_PASSPHRASE: "new" });
      return stack.up(NOTHING);
    },
  },
  {
    name: "the stack moved to another backend, and up",
    run: () => moveBackend(whole),
  },
]);

/** Another setting of a resource of every kind, of which only the weight of a server shows in what is live. */
async function newer(whole: Whole): Promise<Record<string, Change>> {
  const later = { args: { drainDeadline: "3 seconds" } };
  return {
    agent: { args: { evidence: { days: 30 } } },
    edge: { args: { maxConnections: 900 } },
    plain: { args: { balance: "leastconn", servers: await heavier(whole) } },
    web: later,
    tried: later,
    "node-a": later,
    api: { args: { testers: { header: "x-tester", value: "yes" } } },
  };
}

/** The plain backend's servers, with another weight. */
async function heavier({ clients }: Whole): Promise<object> {
  const { servers = {} } = (await clients.agent.backend("main", "plain"))?.live ?? {};
  return Object.fromEntries(
    Object.entries(servers).map(([name, { address }]) => {
      const [host, port] = address.split(":");
      return [name, { address: host, port: Number(port), weight: 50 }];
    }),
  );
}

/** How a preview tells of each of them, after an older state was restored. */
const NEWER = [
  /agent has evidence: \{"count":300,"days":30,"size":"200 MiB"\}, which/,
  /agent has maxConnections: 900, which/,
  /agent has balance: "leastconn"(, \S+: 50)?, which/,
  /agent has drainDeadline: "3 seconds", which/,
  /agent has testers: \{"header":"x-tester","value":"yes"\}, which/,
];

async function moveBackend(whole: Whole) {
  const { stack } = whole;
  const { stdout } = await whole.must(stack.run("stack", "export", "--stack", "dev"));
  await stack.write("moved.json", stdout);
  const settings = path.join(stack.folder, "Pulumi.dev.yaml");
  const before = await readFile(settings, "utf8");
  stack.use({ PULUMI_BACKEND_URL: `file://${await whole.folder(".moved")}` });
  await whole.must(stack.run("stack", "init", "dev"));
  await writeFile(settings, before);
  await whole.must(stack.run("stack", "import", "--stack", "dev", "--file", "moved.json"));
  return stack.up(NOTHING);
}
