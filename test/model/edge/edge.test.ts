import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { collide, edgeSpec, hostPort, isWildcard, listensOn } from "../../../src/model/edge/edge";
import { problems } from "../support/pools";

const edge = (parts: object = {}) => ({
  frontends: { web: { binds: [{ port: 8080 }], defaultBackend: "web" } },
  ...parts,
});

test("an edge has defaults for everything but its frontends", () => {
  assert.deepEqual(edgeSpec.parse(edge()), {
    frontends: { web: { binds: [{ address: "127.0.0.1", port: 8080 }], defaultBackend: "web" } },
    timeouts: {
      connect: "5 seconds",
      client: "1 minute",
      server: "1 minute",
      keepAlive: "10 seconds",
      request: "10 seconds",
      queue: "30 seconds",
      tunnel: "1 hour",
    },
    maxConnections: 4000,
    hardStopAfter: "1 hour",
    meter: false,
  });
});

const refused: [string, unknown, string[]][] = [
  ["no frontend", { frontends: {} }, ["frontends: declare at least one frontend"]],
  [
    "no bind",
    { frontends: { web: { binds: [], defaultBackend: "web" } } },
    ["frontends.web.binds: has too few items (0): give at least 1"],
  ],
  [
    "a host name, a port out of range and a wrong backend name at once",
    { frontends: { web: { binds: [{ address: "localhost", port: 0 }], defaultBackend: "My App" } } },
    [
      'frontends.web.binds.0.address: "localhost" is not an IP address: write it in numbers, such as "127.0.0.1"',
      "frontends.web.binds.0.port: 0 is out of range: use at least 1",
      'frontends.web.defaultBackend: "My App" is not a name: use lower-case letters, digits and "-", starting with a letter, at most 40 characters',
    ],
  ],
  [
    "a misspelt property",
    edge({ maxConnection: 5 }),
    [': "maxConnection" does not exist here: remove it, or check its spelling'],
  ],
  [
    "a TLS path that is relative",
    { frontends: { web: { binds: [{ port: 443, tls: { certificate: "cert.pem" } }], defaultBackend: "web" } } },
    ['frontends.web.binds.0.tls.certificate: "cert.pem" is not an absolute path without "..": write it from "/"'],
  ],
  [
    "the same address twice, also as metrics",
    { ...edge({ metrics: { address: "0.0.0.0", port: 8080 } }) },
    ["metrics: 0.0.0.0:8080 is declared twice (also at frontends.web.binds[0]): use another port"],
  ],
  [
    "the same address in two frontends",
    {
      frontends: {
        a: { binds: [{ port: 80 }], defaultBackend: "a" },
        b: { binds: [{ port: 81 }, { port: 80 }], defaultBackend: "b" },
      },
    },
    ["frontends.b.binds.1: 127.0.0.1:80 is declared twice (also at frontends.a.binds[0]): use another port"],
  ],
];
for (const [title, input, expected] of refused)
  test(`an edge with ${title} is refused`, () => assert.deepEqual(problems(edgeSpec, input), expected));

test("listeners are named by the property that declares them", () => {
  const spec = edgeSpec.parse(edge({ metrics: { port: 9100 } }));
  assert.deepEqual(
    listensOn(spec).map(({ address, port, path }) => ({ address, port, path })),
    [
      { address: "127.0.0.1", port: 8080, path: "frontends.web.binds[0]" },
      { address: "127.0.0.1", port: 9100, path: "metrics" },
    ],
  );
});

const pairs: [string, string, boolean][] = [
  ["127.0.0.1", "127.0.0.1", true],
  ["127.0.0.1", "127.0.0.2", false],
  ["0.0.0.0", "127.0.0.1", true],
  ["0.0.0.0", "::1", false],
  ["::", "127.0.0.1", true],
  ["::", "::1", true],
  ["::", "0.0.0.0", true],
  ["::1", "0:0:0:0:0:0:0:1", true],
  ["::1", "0::1", true],
  ["FE80::A", "fe80::a", true],
  ["::ffff:127.0.0.1", "127.0.0.1", true],
  ["::ffff:7f00:1", "127.0.0.1", true],
  ["::ffff:127.0.0.1", "0.0.0.0", true],
  ["0:0:0:0:0:0:0:0", "10.0.0.1", true],
  ["::1", "::2", false],
];
for (const [one, other, expected] of pairs)
  test(`${one} and ${other} ${expected ? "collide" : "don't collide"} on the same port only`, () => {
    assert.equal(collide({ address: one, port: 80 }, { address: other, port: 80 }), expected);
    assert.equal(collide({ address: other, port: 80 }, { address: one, port: 80 }), expected);
    assert.equal(collide({ address: one, port: 80 }, { address: other, port: 81 }), false);
  });

test("every address collides with itself and is no wildcard unless it is all zeros", () => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (address) => {
      if (!problems(edgeSpec, edge({ metrics: { address, port: 1 } })).length)
        assert.equal(collide({ address, port: 1 }, { address, port: 1 }), true);
      if (!/^::ffff:/i.test(address)) assert.equal(isWildcard(address), /^[0:.]+$/.test(address));
    }),
  );
});

test("an IPv6 address stands in brackets before its port", () => {
  assert.equal(hostPort("127.0.0.1", 80), "127.0.0.1:80");
  assert.equal(hostPort("::1", 80), "[::1]:80");
});
