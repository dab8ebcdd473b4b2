import assert from "node:assert/strict";
import test from "node:test";
import { edgeSpec, listensOn, withoutListeners } from "../../../src/model/edge/edge";
import { commandLine, expectedTakeover, takeover, titleOf } from "../../../src/model/process/takeover";

test("a takeover names processes by one condition or several, with safe defaults", () => {
  assert.deepEqual(takeover.parse([{ port: 80 }, { pidFile: "/run/app.pid", command: ["/usr/bin/app", "serve"] }]), [
    { port: 80, deadline: "30 seconds", kill: false },
    { pidFile: "/run/app.pid", command: ["/usr/bin/app", "serve"], deadline: "30 seconds", kill: false },
  ]);
});

const REFUSED: [what: string, entry: object, path: string, message: RegExp][] = [
  ["that name nothing", { kill: true }, "0", /^names no process: give unit, pidFile, port or command$/],
  [
    "of a unit that is no service",
    { unit: "haproxy" },
    "0.unit",
    /^"haproxy" is not a service unit: write its whole name/,
  ],
  ["of a unit with options", { unit: "--now.service" }, "0.unit", /is not a service unit/],
  [
    "of a unit by SIGKILL",
    { unit: "a.service", kill: true },
    "0.kill",
    /^systemd ends a.service by the unit's own TimeoutStopSec/,
  ],
  ["of a relative pid file", { pidFile: "app.pid" }, "0.pidFile", /is not an absolute path/],
  ["of a port that is none", { port: 0 }, "0.port", /./],
  ["of an empty command", { command: [] }, "0.command", /./],
  ["of a command with NUL", { command: ["a\0b"] }, "0.command.0", /^holds a NUL character: remove it$/],
  ["by SIGKILL as a signal", { port: 80, signal: "SIGKILL" }, "0.signal", /./],
  ["without a bound", { port: 80, deadline: "2 hours" }, "0.deadline", /out of range/],
  ["by what is not known", { name: "nginx" }, "0", /name/],
];

for (const [what, entry, path, message] of REFUSED)
  test(`takeovers are refused ${what}`, () => {
    const issues = takeover.safeParse([entry]).error?.issues ?? [];
    const found = issues.find((issue) => issue.path.join(".") === path);
    assert.match(found?.message ?? `no issue at ${path}: ${JSON.stringify(issues)}`, message);
  });

test("the same thing is named once, and at most 16 are", () => {
  const twice = takeover.safeParse([{ port: 80 }, { port: 80, kill: true }]).error?.issues ?? [];
  assert.deepEqual(
    twice.map(({ path, message }) => [path, message]),
    [[[1], "port 80 is named twice: once is enough"]],
  );
  assert.equal(takeover.safeParse([]).success, false);
  assert.equal(takeover.safeParse(Array.from({ length: 17 }, (_, port) => ({ port: port + 1 }))).success, false);
});

test("entries are told by what finds them, and commands in one line of bounded length", () => {
  assert.equal(titleOf({ unit: "a.service", port: 80 }), "unit a.service");
  assert.equal(titleOf({ pidFile: "/run/a.pid" }), "pid file /run/a.pid");
  assert.equal(titleOf({ command: ["nginx", "-g", "daemon off;"] }), 'command nginx -g "daemon off;"');
  assert.equal(commandLine(["a", "line\nbreak"]), 'a "line\\nbreak"');
  assert.equal(commandLine(["x".repeat(500)]).length, 200);
  assert.deepEqual(expectedTakeover(undefined), {});
  assert.deepEqual(expectedTakeover(takeover.parse([{ port: 80 }])), { takeover: { "port 80": "taken over" } });
});

test("an edge can be without some of its addresses", () => {
  const spec = edgeSpec.parse({
    frontends: {
      http: { binds: [{ port: 80 }, { port: 8080 }], defaultBackend: "web" },
      admin: { binds: [{ port: 81 }], defaultBackend: "admin" },
    },
    metrics: { port: 9000 },
  });
  const left = withoutListeners(spec, ({ port }) => port !== 8080);
  assert.deepEqual(
    listensOn(left).map(({ path, port }) => [path, port]),
    [["frontends.http.binds[0]", 8080]],
  );
  assert.deepEqual(Object.keys(left.frontends), ["http", "admin"]);
  assert.deepEqual(
    withoutListeners(spec, () => false),
    spec,
  );
});
