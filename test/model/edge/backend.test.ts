import assert from "node:assert/strict";
import test from "node:test";
import { backendSpec, MAX_SERVERS } from "../../../src/model/edge/backend";
import { problems } from "../support/pools";

const servers = (parts: object) => ({ servers: { api: { address: "10.0.0.1", port: 80, ...parts } } });

test("a backend has defaults for everything, and a server for all but its address", () => {
  assert.deepEqual(backendSpec.parse({}), {
    balance: "roundrobin",
    retry: "connection",
    servers: {},
    drainDeadline: "1 minute",
  });
  assert.deepEqual(backendSpec.parse(servers({})).servers.api, {
    address: "10.0.0.1",
    port: 80,
    weight: 100,
    state: "ready",
  });
  assert.deepEqual(backendSpec.parse({ health: { path: "/up" } }).health, {
    path: "/up",
    interval: "2 seconds",
    timeout: "2 seconds",
    rise: 2,
    fall: 3,
  });
});

const refused: [string, unknown, string[]][] = [
  ["a weight above HAProxy's", servers({ weight: 257 }), ["servers.api.weight: 257 is out of range: use at most 256"]],
  [
    "an unknown state",
    servers({ state: "up" }),
    ['servers.api.state: "up" is not known here: use one of "ready", "drain", "maint"'],
  ],
  ["a port as text", servers({ port: "80" }), ['servers.api.port: "80" is not a number: give one']],
  ["a fraction of a port", servers({ port: 80.5 }), ["servers.api.port: 80.5 is not a whole number: give one"]],
  [
    "no address",
    { servers: { api: { port: 80 } } },
    ['servers.api.address: nothing is not an IP address: write it in numbers, such as "127.0.0.1"'],
  ],
  [
    "an address of its client's choice",
    servers({ address: "0.0.0.0" }),
    ['servers.api.address: "0.0.0.0" is every address of a host: write the one that the server listens on'],
  ],
  [
    "another such",
    servers({ address: "::" }),
    ['servers.api.address: "::" is every address of a host: write the one that the server listens on'],
  ],
  [
    "a server's name that could inject",
    { servers: { "a\n  server b": { address: "10.0.0.1", port: 80 } } },
    [
      'servers.a\n  server b: "a\\n  server b" is not a server\'s name: use lower-case letters, digits and "-", starting with a letter, at most 64 characters',
    ],
  ],
  [
    "a health path that could inject",
    { health: { path: "/a\nserver" } },
    ['health.path: "/a\\nserver" is not a URL path: start with "/", percent-encode spaces, quotes and "#"'],
  ],
  ["a list of servers", { servers: [] }, ["servers: a list is not an object: give one"]],
  [
    "everything at once",
    { balance: "best", drainDeadline: "5", ...servers({ port: 0 }) },
    [
      'balance: "best" is not known here: use one of "roundrobin", "leastconn", "random"',
      "servers.api.port: 0 is out of range: use at least 1",
      'drainDeadline: "5" is not a duration: write a number, a space and a unit, such as "30 seconds"',
    ],
  ],
];
for (const [title, input, expected] of refused)
  test(`a backend with ${title} is refused`, () => assert.deepEqual(problems(backendSpec, input), expected));

test("a backend has a bound on its servers", () => {
  const many = (count: number) => ({
    servers: Object.fromEntries(Array.from({ length: count }, (_, i) => [`s${i}`, { address: "10.0.0.1", port: 80 }])),
  });
  assert.deepEqual(problems(backendSpec, many(MAX_SERVERS)), []);
  assert.deepEqual(problems(backendSpec, many(MAX_SERVERS + 1)), ["servers: has 1001 servers: declare at most 1000"]);
});
