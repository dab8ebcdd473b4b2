import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import fc from "fast-check";
import { validateText } from "../../../src/agent/haproxy/config/config-file";
import { isUntouched, type RenderInput, render } from "../../../src/agent/haproxy/config/render";
import { assignServers } from "../../../src/agent/haproxy/runtime/server-assignments";
import { type BackendInput, type BackendSpec, backendSpec } from "../../../src/model/edge/backend";
import { type EdgeInput, edgeSpec } from "../../../src/model/edge/edge";
import { binary } from "./support/edge";

const FIXTURES = join(__dirname, "../../fixtures/haproxy");

function input(edge: EdgeInput, backends: Record<string, BackendInput> = {}): RenderInput {
  const parsed = Object.fromEntries(Object.entries(backends).map(([name, spec]) => [name, backendSpec.parse(spec)]));
  return {
    name: "web",
    spec: edgeSpec.parse(edge),
    backends: parsed,
    placed: assignServers(parsed, { placed: [], leaving: [] }, 0).placed,
    socket: "/var/lib/sluice/edges/web/worker.sock",
    host: {},
  };
}

const small = input({ frontends: { web: { binds: [{ port: 8080 }], defaultBackend: "shop" } }, maxConnections: 1000 });
const full: RenderInput = {
  ...input(
    {
      frontends: {
        web: {
          binds: [
            { address: "0.0.0.0", port: 80 },
            { address: "::", port: 443, tls: { certificate: "/etc/tls/it's $HOME #1.pem" } },
          ],
          defaultBackend: "shop",
        },
        admin: { binds: [{ port: 8081 }], defaultBackend: "nowhere" },
      },
      timeouts: { client: "90 seconds", tunnel: "2 hours" },
      maxConnections: 50_000,
      metrics: { port: 9101 },
      meter: true,
    },
    {
      shop: {
        balance: "leastconn",
        health: { path: "/healthz?a=%20b", interval: "500 milliseconds", rise: 1 },
        servers: {
          "shop-2": { address: "127.0.0.1", port: 20_002, state: "maint" },
          "shop-1": { address: "127.0.0.1", port: 20_001, weight: 0 },
          "shop-3": { address: "::1", port: 20_003, state: "drain" },
        },
      },
      empty: {},
    },
  ),
  host: { account: { user: "haproxy", group: "haproxy", gid: 110 }, maxOpenFiles: 20_000 },
  certificates: { "/etc/tls/it's $HOME #1.pem": "0123456789abcdef" },
};

for (const [name, given] of Object.entries({ small, full })) {
  test(`the ${name} edge renders to test/fixtures/haproxy/${name}.cfg`, async () => {
    assert.equal(render(given).text, await readFile(join(FIXTURES, `${name}.cfg`), "utf8"));
  });
}

test("servers change the text, and not the structure that needs a reload", () => {
  const other = { ...full, placed: full.placed.slice(1) };
  assert.notEqual(render(other).text, render(full).text);
  assert.equal(render(other).structure, render(full).structure);
});

test("a text is known as untouched until one character of it changes", () => {
  const { text } = render(full);
  assert.ok(isUntouched(text));
  fc.assert(
    fc.property(fc.nat(text.length - 1), (at) => {
      const changed = `${text.slice(0, at)}~${text.slice(at + 1)}`;
      // Above the checksum only the number of lines counts.
      const isIgnored = at < text.indexOf("# checksum") && text[at] !== "\n";
      assert.equal(isUntouched(changed), isIgnored || text[at] === "~");
    }),
  );
});

/** Everything that renders is what its parts say: one line per part, whatever the texts hold. */
test("no name, path or address can add a line or a word", () => {
  const evil = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.constantFrom(
      "a\nglobal",
      "web\r\n  bind :1",
      "x y",
      "'; x",
      "/a'\n\"b",
      "/etc/$(id)",
      "/a\\",
      "127.0.0.1:80 ssl",
      "::1%lo",
      "#",
      "\0",
    ),
  );
  const lines = (given: RenderInput) => render(given).text.split("\n").length;
  const accepted = (edit: (given: Mutable, text: string) => void) =>
    fc.property(evil, (text) => {
      const given = structuredClone(full) as Mutable;
      edit(given, text);
      let rendered: number;
      try {
        rendered = lines(given);
      } catch {
        return;
      }
      assert.ok(rendered <= lines(full), JSON.stringify(text));
      assert.ok(
        !render(given)
          .text.split("\n")
          .some((line) => line.startsWith("global") && line !== "global"),
      );
    });
  for (const edit of edits) fc.assert(accepted(edit), { numRuns: 300 });
});

type Mutable = RenderInput & { placed: { id: string; address: string; backend: string }[] };
const edits: ((given: Mutable, text: string) => void)[] = [
  (given, text) => {
    given.name = text;
  },
  (given, text) => {
    given.socket = text;
  },
  (given, text) => {
    const bind = given.spec.frontends.web?.binds[1];
    if (bind?.tls !== undefined) bind.tls.certificate = text;
  },
  (given, text) => {
    const bind = given.spec.frontends.web?.binds[0];
    if (bind !== undefined) bind.address = text;
  },
  (given, text) => {
    const frontend = given.spec.frontends.web;
    if (frontend !== undefined) frontend.defaultBackend = text;
  },
  (given, text) => {
    const health = given.backends.shop?.health;
    if (health !== undefined) health.path = text;
  },
  (given, text) => {
    given.backends = { [text]: given.backends.shop as BackendSpec };
    given.placed = [];
  },
  (given, text) => {
    const server = given.placed[0];
    if (server !== undefined) server.id = text;
  },
  (given, text) => {
    const server = given.placed[0];
    if (server !== undefined) server.address = text;
  },
];

test("HAProxy reads quoted paths as they are", async () => {
  const certificate = '/nowhere/it\'s $HOME "#1" \\x.pem';
  const { text } = render(
    input({ frontends: { web: { binds: [{ port: 8080, tls: { certificate } }], defaultBackend: "shop" } } }),
  );
  await assert.rejects(validateText(binary, { text, splits: undefined, script: undefined }), (error: Error) =>
    error.message.includes(certificate),
  );
});

test("HAProxy accepts what is rendered", async () => {
  const given = structuredClone(full);
  const bind = given.spec.frontends.web?.binds[1];
  if (bind !== undefined) delete bind.tls;
  await validateText(binary, render(given));
});
