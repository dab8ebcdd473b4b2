import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { request } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import test from "node:test";
import { promisify } from "node:util";
import fc from "fast-check";
import { MAX_BODY } from "../../../src/agent/api/server";
import type { AgentClient } from "../../../src/agent/client/client";
import { PROTOCOL, type StepInput, step } from "../../../src/model/protocol/transaction";
import { startTestAgent } from "../../support/agent";
import { OWNER } from "../../support/transaction";
import { startPoolAgent, web } from "../pools/support/agent";

interface Answer {
  status: number;
  body: string;
}

/** One request on a connection of its own; what cuts it off is thrown. */
function ask(
  socketPath: string,
  method: string,
  path: string,
  body?: string | Buffer,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, method, path, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }));
    });
    call.on("error", reject);
    call.end(body);
  });
}

/**
 * Sends bytes as they are, and returns all that comes back until the agent closes.
 *
 * @param isEnough whether the client closes now: sooner, it would give up answers that are still being made
 */
async function raw(socketPath: string, bytes: string | Buffer, isEnough = (_: string) => false): Promise<string> {
  const socket = connect(socketPath).setEncoding("latin1");
  let text = "";
  socket.on("data", (more: string) => {
    text += more;
    if (isEnough(text)) socket.end();
  });
  socket.on("error", () => undefined);
  socket.write(bytes);
  await once(socket, "close");
  return text;
}

/** The error of an answer, which must be in the documented form. */
function errorOf({ status, body }: Answer): { code: string; message: string } {
  assert.ok(status >= 400 && status < 600, `${status}: ${body}`);
  const { error } = JSON.parse(body) as { error: { code: string; message: string } };
  assert.equal(typeof error.code, "string");
  assert.ok(error.message.length > 0);
  return error;
}

/** Of a process so far: what else the machine has to do does not count. The kernel counts in hundredths of a second. */
function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

const rss = async (pid: number) =>
  Number(/VmRSS:\s+(\d+) kB/.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;

test("the agent's API", async (t) => {
  const { client, socket, about } = await startTestAgent(t);
  const post = (path: string, body: string | Buffer, headers?: Record<string, string>) =>
    ask(socket, "POST", path, body, headers);

  const refusals: [
    name: string,
    method: string,
    path: string,
    body: string | undefined,
    status: number,
    code: string,
    message: RegExp,
  ][] = [
    [
      "an unknown path",
      "GET",
      "/v2/about",
      undefined,
      404,
      "unknown-route",
      /^GET \/v2\/about is refused: that path is not part of the agent's API$/,
    ],
    ["an unknown path with an odd name", "GET", "/v1/pools/__proto__", undefined, 404, "unknown-route", /is not part/],
    ["a path that leads out", "GET", "/v1/edges/../about", undefined, 404, "unknown-route", /is not part/],
    ["another method", "DELETE", "/v1/about", undefined, 404, "unknown-route", /that path takes GET$/],
    [
      "a body that is not JSON",
      "POST",
      "/v1/transactions",
      "{target:",
      400,
      "not-json",
      /^the request's body is not JSON: /,
    ],
    ["a body of another type", "POST", "/v1/transactions", "[1]", 400, "invalid", /./],
    ["null", "POST", "/v1/plan", "null", 400, "invalid", /./],
    [
      "an unknown verb",
      "POST",
      "/v1/plan",
      '{"verb":"pool.explode","pool":"web"}',
      400,
      "invalid",
      /"pool\.explode" is not known here: use one of "edge\.set"/,
    ],
    [
      "a name that is none",
      "POST",
      "/v1/plan",
      '{"verb":"edge.remove","edge":"a\\n  server x"}',
      400,
      "invalid",
      /"a\\n {2}server x" is not a name/,
    ],
    [
      "a reserved name",
      "POST",
      "/v1/plan",
      '{"verb":"edge.remove","edge":"constructor"}',
      400,
      "invalid",
      /"constructor" is a reserved name/,
    ],
    [
      "a property that does not exist",
      "POST",
      "/v1/plan",
      '{"verb":"edge.remove","edge":"a","force":true}',
      400,
      "invalid",
      /"force" does not exist here/,
    ],
    [
      "a target of another form",
      "POST",
      "/v1/transactions",
      '{"target":"pool/../x","owner":{"who":"a","why":"b","pid":1}}',
      400,
      "invalid",
      /is not a target: use edge\/NAME/,
    ],
    [
      "an owner with line breaks",
      "POST",
      "/v1/transactions",
      '{"target":"pool/x","owner":{"who":"a\\nb","why":"b","pid":1}}',
      400,
      "invalid",
      /holds a control character/,
    ],
    [
      "a lease without an end",
      "POST",
      "/v1/transactions",
      '{"target":"pool/x","owner":{"who":"a","why":"b","pid":1},"leaseMs":1e9}',
      400,
      "invalid",
      /out of range/,
    ],
    [
      "an unknown transaction",
      "POST",
      "/v1/transactions/00000000-0000-4000-8000-000000000000/commit",
      "{}",
      404,
      "unknown-transaction",
      /not known to this agent/,
    ],
  ];
  for (const [name, method, path, body, status, code, message] of refusals)
    await t.test(`refuses ${name}`, async () => {
      const answer = await ask(socket, method, path, body);
      assert.equal(answer.status, status, answer.body);
      const error = errorOf(answer);
      assert.equal(error.code, code);
      assert.match(error.message, message);
    });

  await t.test("refuses a body that is too large, without keeping it", async () => {
    const before = await rss(about.pid);
    for (const size of [MAX_BODY + 1, 50 * MAX_BODY]) {
      const answer = await post("/v1/plan", Buffer.alloc(size, 32));
      assert.equal(answer.status, 413);
      assert.deepEqual(errorOf(answer), {
        code: "too-large",
        message: `the request's body is larger than ${MAX_BODY} bytes: put what is large, such as long variables, into files of the release`,
      });
    }
    const grown = (await rss(about.pid)) - before;
    assert.ok(grown < 40 * 1024 * 1024, `${grown} bytes more`);
    assert.equal((await post("/v1/plan", Buffer.alloc(MAX_BODY, 32))).status, 400);
  });

  const unread: [what: string, method: string, path: string, status: number][] = [
    ["an unknown path", "POST", "/v2/plan", 404],
    ["a body that is too large", "POST", "/v1/plan", 413],
    ["an artifact that is no archive", "PUT", `/v1/artifacts/${"0".repeat(64)}`, 422],
  ];
  for (const [what, method, path, status] of unread) {
    await t.test(`reads all that a client sends before it refuses ${what}, and keeps the connection`, async () => {
      const connection = connect(socket);
      t.after(() => connection.destroy());
      const head = (length: number) => `${method} ${path} HTTP/1.1\r\nhost: a\r\ncontent-length: ${length}\r\n\r\n`;
      for (const size of [6 * MAX_BODY, 3 * MAX_BODY]) {
        const written = promisify(connection.write.bind(connection) as (bytes: Buffer) => void);
        await written(Buffer.concat([Buffer.from(head(size)), Buffer.alloc(size, 32)]));
        const [bytes] = (await once(connection, "data")) as [Buffer];
        assert.match(bytes.toString(), new RegExp(`^HTTP/1.1 ${status} `));
        assert.doesNotMatch(bytes.toString(), /connection: close/i);
      }
    });
  }

  await t.test("refuses bytes that are no HTTP, and headers that are too large, in its own form", async () => {
    const garbage = [
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
      "hello\r\n\r\n",
      "GET /v1/about HTTP/9.9\r\n\r\n",
      `GET /v1/about HTTP/1.1\r\nhost: a\r\nx: ${"x".repeat(100_000)}\r\n\r\n`,
      "POST /v1/plan HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n",
      "POST /v1/plan HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ];
    for (const bytes of garbage) {
      const text = await raw(socket, bytes);
      const [head = "", body = ""] = text.split("\r\n\r\n");
      assert.match(head, /^HTTP\/1\.1 4\d\d /, JSON.stringify(bytes.slice(0, 60)));
      errorOf({ status: Number(head.split(" ")[1]), body });
    }
  });

  await t.test("answers requests in a row on one connection, and ends it at the first that is none", async () => {
    const good = "GET /v1/about HTTP/1.1\r\nhost: a\r\n\r\n";
    const answers = (text: string) => text.match(/HTTP\/1\.1 200 OK/g)?.length;
    const three = await raw(socket, good.repeat(3), (text) => answers(text) === 3);
    assert.equal(answers(three), 3, three);
    const spoiled = await raw(socket, `${good}\x00\x01garbage\r\n\r\n${good}`);
    assert.equal(spoiled.match(/HTTP\/1\.1 400 /g)?.length, 1, spoiled);
  });

  await t.test("answers others while bodies come slowly or never", async () => {
    const slow = Array.from({ length: 50 }, () => {
      const connection = connect(socket);
      connection.on("error", () => undefined);
      connection.write("POST /v1/plan HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n{");
      return connection;
    });
    assert.equal((await client.about()).pid, about.pid);
    for (const connection of slow) connection.destroy();
  });

  await t.test("refuses a client of another protocol, naming both, except where it may replace the agent", async () => {
    const headers = { "sluice-protocol": String(PROTOCOL + 1) };
    const answer = await ask(socket, "GET", "/v1/status", undefined, headers);
    assert.equal(answer.status, 409);
    const { code, message } = errorOf(answer);
    assert.equal(code, "protocol");
    assert.match(
      message,
      new RegExp(
        `^the agent is version \\S+ and speaks protocol ${PROTOCOL}, but its client speaks ${PROTOCOL + 1}: update`,
      ),
    );
    assert.equal((await ask(socket, "GET", "/v1/about", undefined, headers)).status, 200);
    assert.equal((await ask(socket, "GET", "/v1/status", undefined, { "sluice-protocol": "1, 1" })).status, 409);
  });

  await t.test("takes keys that every object has, and thousands of them, in its stride", async () => {
    const many = Object.fromEntries(Array.from({ length: 8000 }, (_, index) => [`p${index}`, { policy: "companion" }]));
    const frontends = Object.fromEntries(
      Array.from({ length: 5000 }, (_, index) => [
        `f${index}`,
        { binds: [{ address: `fd00::${index.toString(16)}`, port: 80 }], defaultBackend: "b" },
      ]),
    );
    const pool = (processes: string) =>
      `{"verb":"pool.start","pool":"web","spec":{"edge":"e","release":{"id":"v","path":"/"},"ports":{"from":2000,"to":2999},"processes":${processes}}}`;
    const bodies = [
      pool('{"__proto__":{"policy":"proxied"}}'),
      pool('{"constructor":{"policy":"proxied"}}'),
      pool('{"toString":{"policy":"proxied"}}'),
      pool(JSON.stringify(many)),
      '{"__proto__":{"verb":"edge.remove","edge":"x"}}',
      '{"verb":"__proto__"}',
      JSON.stringify({ verb: "edge.set", edge: "e", spec: { frontends } }),
      `${'{"verb":'.repeat(20_000)}1${"}".repeat(20_000)}`,
      `${"[".repeat(100_000)}${"]".repeat(100_000)}`,
    ];
    for (const body of bodies) {
      const before = cpuMs(about.pid);
      const answer = await post("/v1/plan", body);
      const spent = cpuMs(about.pid) - before;
      assert.ok(spent < 5000, `${spent} ms of CPU time for ${body.slice(0, 150)}`);
      if (answer.status !== 200) errorOf(answer);
    }
    assert.equal((await client.about()).pid, about.pid);
  });
});

test("steps at random, good and spoiled, get an answer in the documented form and change nothing that is refused", async (t) => {
  const poolAgent = await startPoolAgent(t);
  const { client, socket, about, directory } = poolAgent;
  const pool = await poolAgent.pool("web");
  await pool.promote("v1", { web: web() });
  const spec = await pool.spec("v1", { web: web() });
  const before = await stateOf(client, directory);
  const good: StepInput[] = [
    { verb: "pool.start", pool: "web", spec },
    { verb: "pool.switch", pool: "web" },
    {
      verb: "edge.set",
      edge: "web",
      spec: { frontends: { http: { binds: [{ port: pool.edgePort }], defaultBackend: "web" } } },
    },
    { verb: "backend.set", edge: "web", backend: "api", spec: { servers: { a: { address: "127.0.0.1", port: 1 } } } },
    { verb: "backend.remove", edge: "web", backend: "api" },
    { verb: "pool.remove", pool: "web" },
  ];
  const odd = fc.oneof(
    fc.constantFrom<unknown>(
      null,
      "",
      -1,
      1e99,
      0.5,
      true,
      [],
      {},
      "\u0000",
      "../..",
      "a\nb",
      "{{",
      "{{x}}",
      "constructor",
      "__proto__",
      "😀".repeat(100),
    ),
    fc.jsonValue(),
  );
  const mutated = fc
    .tuple(fc.constantFrom(...good), fc.array(fc.tuple(fc.nat(), odd, fc.boolean()), { minLength: 0, maxLength: 3 }))
    .map(([base, changes]) =>
      changes.reduce(
        (value, [at, replacement, drop]) => spoiled(value, at, replacement, drop),
        structuredClone(base) as unknown,
      ),
    );
  await fc.assert(
    fc.asyncProperty(mutated, fc.constantFrom("check", "plan", "steps"), async (body, route) => {
      const text = JSON.stringify(body);
      if (route !== "steps") {
        const answer = await ask(socket, "POST", `/v1/${route}`, text);
        if (answer.status !== 200) errorOf(answer);
        return;
      }
      // Skip valid steps: only refusals are of interest here.
      if (step.safeParse(JSON.parse(text)).success) return;
      const { id } = await client.begin({ target: "pool/web", owner: OWNER, leaseMs: 60_000 });
      const answer = await ask(socket, "POST", `/v1/transactions/${id}/steps`, text);
      assert.equal(errorOf(answer).code, "invalid");
      assert.equal((await client.abort(id, "fuzz")).state, "undone");
    }),
    { numRuns: 300 },
  );
  assert.equal((await client.about()).pid, about.pid);
  assert.deepEqual(await stateOf(client, directory), before);
});

async function stateOf(client: AgentClient, directory: string) {
  const { edges, pools, backends } = await client.status();
  return {
    live: [edges, pools, backends].map((all) =>
      Object.entries(all).map(([name, each]) => [name, "live" in each ? each.live : each]),
    ),
    pids: Object.values(pools).flatMap((pool) => ("processes" in pool ? pool.processes.map(({ pid }) => pid) : [])),
    disk: await readFile(join(directory, "state.json"), "utf8"),
    config: await readFile(join(directory, "edges", "web", "haproxy.cfg"), "utf8"),
  };
}

/** The value with one of its places, chosen by a number, replaced or dropped. */
function spoiled(value: unknown, at: number, replacement: unknown, drop: boolean): unknown {
  const places: [Record<string, unknown>, string][] = [];
  const visit = (inner: unknown) => {
    if (typeof inner !== "object" || inner === null) return;
    for (const key of Object.keys(inner)) {
      places.push([inner as Record<string, unknown>, key]);
      visit((inner as Record<string, unknown>)[key]);
    }
  };
  visit(value);
  const place = places[at % Math.max(places.length, 1)];
  if (place === undefined) return replacement;
  const [owner, key] = place;
  if (drop) delete owner[key];
  else owner[key] = replacement;
  return value;
}
