import assert from "node:assert/strict";
import test from "node:test";
import { poolSpec } from "../../../src/model/pool/pool";
import { beside, poolInput, problems, WEB, web } from "../support/pools";

const TEMPLATES =
  "release.id, release.path, release.revision, process.id, replica.index, replica.count, port, edge.address, ports.<process>, host.env.<NAME>";

const refused: [string, unknown, string[]][] = [
  [
    "two proxied processes",
    poolInput({ processes: { web: WEB, api: WEB } }),
    [
      'processes: exactly one process must be proxied, but web and api are: set policy: "proxied" on the one that takes the traffic',
    ],
  ],
  [
    "no proxied process",
    poolInput({ processes: { jobs: { policy: "singleton", command: ["jobs"] } } }),
    [
      'processes: exactly one process must be proxied, but none is: set policy: "proxied" on the one that takes the traffic',
    ],
  ],
  [
    "no process",
    poolInput({ processes: {} }),
    [
      'processes: exactly one process must be proxied, but none is: set policy: "proxied" on the one that takes the traffic',
    ],
  ],
  [
    "a malformed process name",
    poolInput({ processes: { "Web 1": WEB } }),
    [
      'processes.Web 1: "Web 1" is not a name: use lower-case letters, digits and "-", starting with a letter, at most 40 characters',
    ],
  ],
  [
    "a process name that every object has",
    poolInput({ processes: { web: WEB, constructor: { policy: "companion", command: ["x"] } as never } }),
    ['processes.constructor: "constructor" is a reserved name: use another'],
  ],
  [
    "a malformed edge",
    poolInput({ edge: "main\n" }),
    [
      'edge: "main\\n" is not a name: use lower-case letters, digits and "-", starting with a letter, at most 40 characters',
    ],
  ],
  [
    "ports upside down",
    poolInput({ ports: { from: 3000, to: 2000 } }),
    ['ports: 3000-2000 is upside down: "from" must not be above "to"'],
  ],
  [
    "privileged ports",
    poolInput({ ports: { from: 80, to: 2000 } }),
    ["ports.from: 80 is a privileged port: start at 1024 or above"],
  ],
  [
    "privileged ports upside down",
    poolInput({ ports: { from: 80, to: 79 } }),
    [
      "ports.from: 80 is a privileged port: start at 1024 or above",
      'ports: 80-79 is upside down: "from" must not be above "to"',
    ],
  ],
  [
    "ports out of range",
    poolInput({ ports: { from: 0, to: 70_000 } }),
    [
      "ports.from: 0 is out of range: use at least 1",
      "ports.to: 70000 is out of range: use at most 65535",
      "ports.from: 0 is a privileged port: start at 1024 or above",
    ],
  ],
  [
    "too few ports",
    poolInput({ ports: { from: 3000, to: 3000 } }),
    ["ports: 3000-3000 holds 1 port, but two releases side by side need 2: widen the range"],
  ],
  [
    "too few ports for its replicas",
    { ...web({ replicas: 3 }), ports: { from: 3000, to: 3004 } },
    ["ports: 3000-3004 holds 5 ports, but two releases side by side need 6: widen the range"],
  ],
  [
    "a service's port inside its range",
    beside({ policy: "service", command: ["redis"], port: 20_005 }),
    ["processes.other.port: 20005 lies inside the pool's range 20000-20999: move the service's port out of it"],
  ],
  [
    "two services on one port",
    poolInput({
      processes: {
        web: WEB,
        a: { policy: "service", command: ["a"], port: 6379 },
        b: { policy: "service", command: ["b"], port: 6379 },
      },
    }),
    ["processes.b.port: 6379 is also the port of a: use another port"],
  ],
  [
    "a service without a number",
    beside({ policy: "service", command: ["redis"], port: true }),
    ["processes.other.port: a service keeps its port across releases: give its number"],
  ],
  [
    "a service on a privileged port",
    beside({ policy: "service", command: ["redis"], port: 79 }),
    ["processes.other.port: 79 is out of range: use at least 1024"],
  ],
  [
    "a companion on a fixed port",
    beside({ policy: "companion", command: ["x"], port: 9000 }),
    ["processes.other.port: 9000 is a fixed port, which two releases side by side can't share: use port: true"],
  ],
  [
    "a proxied process on a fixed port",
    web({ port: 9000 }),
    ["processes.web.port: 9000 is a fixed port, which two releases side by side can't share: leave port out"],
  ],
  [
    "a proxied process without a port",
    web({ port: false }),
    ["processes.web.port: a proxied process needs its port: leave port out"],
  ],
  [
    "a port as text",
    web({ port: "80" }),
    ['processes.web.port: "80" is not a port: give true, or a service\'s own port as a number'],
  ],
  [
    "replicas of a singleton",
    beside({ policy: "singleton", command: ["jobs"], replicas: 2 }),
    ["processes.other.replicas: 2 replicas of a singleton: there is only one of it per host, leave replicas out"],
  ],
  [
    "replicas of a service on one port",
    beside({ policy: "service", command: ["redis"], replicas: 3, port: 6379 }),
    ["processes.other.replicas: 3 replicas of a service can't share port 6379: leave out replicas, or the port"],
  ],
  ["no replica", web({ replicas: 0 }), ["processes.web.replicas: 0 is out of range: use at least 1"]],
  ["a fraction of a replica", web({ replicas: 1.5 }), ["processes.web.replicas: 1.5 is not a whole number: give one"]],
  [
    "a shell with a list",
    web({ shell: true }),
    ["processes.web.shell: shell: true goes with a command string: join the list, or leave shell out"],
  ],
  [
    "a string without a shell",
    web({ command: "node server.js" }),
    ['processes.web.command: "node server.js" is one string: write it as a list of arguments, or add shell: true'],
  ],
  [
    "no command",
    web({ command: undefined }),
    [
      'processes.web.command: nothing is not a command: give a list of texts, such as ["node", "server.js"], or one text with shell: true',
    ],
  ],
  ["an empty command", web({ command: [] }), ["processes.web.command: has too few items (0): give at least 1"]],
  ["an empty string as command", web({ command: "", shell: true }), ["processes.web.command: is empty: give a text"]],
  [
    "a number among its arguments",
    web({ command: ["node", 3] }),
    [
      'processes.web.command: argument 1 is not a text: give a list of texts, such as ["node", "server.js"], or one text with shell: true',
    ],
  ],
  [
    "NUL in a secret, which the message keeps",
    web({ env: { TOKEN: "hunter2\0" } }),
    ["processes.web.env.TOKEN: holds a NUL character: remove it"],
  ],
  [
    "a malformed variable",
    web({ env: { "A B": "x" } }),
    [
      'processes.web.env.A B: "A B" is not the name of an environment variable: use letters, digits and "_", no digit first',
    ],
  ],
  [
    "a variable that Sluice sets",
    web({ env: { SLUICE_PORT: "80" } }),
    [
      'processes.web.env.SLUICE_PORT: "SLUICE_PORT" is Sluice\'s own to set: use a name that does not start with SLUICE_',
    ],
  ],
  [
    "a variable that is no text",
    web({ env: { DEBUG: true } }),
    ["processes.web.env.DEBUG: true is not a text: give one"],
  ],
  [
    "no health",
    web({ health: undefined }),
    ['processes.web.health: a proxied process must say how its health is known: add health: { path: "/healthz" }'],
  ],
  [
    "health without a port",
    beside({ policy: "companion", command: ["x"], health: { path: "/" } }),
    ["processes.other.health: this health check needs a port: add port"],
  ],
  [
    "a health that can never be good",
    web({ health: { path: "/", startDelay: "1 minute", deadline: "60 seconds" } }),
    [
      'processes.web.health.startDelay: "1 minute" leaves no time for a probe before the deadline of 60 seconds: make it shorter, or the deadline longer',
    ],
  ],
  [
    "an unknown policy",
    web({ policy: "proxy" }),
    ['processes.web.policy: "proxy" is not known here: use one of "proxied", "companion", "singleton", "service"'],
  ],
  [
    "an unknown signal",
    web({ stopSignal: "KILL" }),
    [
      'processes.web.stopSignal: "KILL" is not known here: use one of "SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2"',
    ],
  ],
  [
    "a misspelt property",
    web({ comand: ["x"] }),
    ['processes.web: "comand" does not exist here: remove it, or check its spelling'],
  ],
  [
    "an unknown template",
    web({ command: ["{{foo}}"] }),
    [
      `processes.web.command.0: {{foo}} is not a template: use one of ${TEMPLATES}, or "{{{{" for the two braces themselves`,
    ],
  ],
  [
    "an unknown template in its folder",
    web({ cwd: "{{release.dir}}" }),
    [
      `processes.web.cwd: {{release.dir}} is not a template: use one of ${TEMPLATES}, or "{{{{" for the two braces themselves`,
    ],
  ],
  [
    "the port of a process that has none",
    poolInput({
      processes: {
        web: { ...WEB, env: { X: "{{ports.jobs}} {{ports.no}}" } },
        jobs: { policy: "singleton", command: ["jobs"] },
      },
    }),
    [
      "processes.web.env.X: {{ports.jobs}} names no process with a port: use one of web",
      "processes.web.env.X: {{ports.no}} names no process with a port: use one of web",
    ],
  ],
  [
    "its own port where it has none",
    beside({ policy: "companion", command: ["x", "{{port}}"] }),
    ["processes.other.command.1: {{port}} is used, but this process has no port: declare one"],
  ],
  [
    "a revision that is not declared",
    web({ command: ["{{release.revision}}"] }),
    [
      "processes.web.command.0: {{release.revision}} is used, but the release declares no revision: add release.revision",
    ],
  ],
  [
    "a template that is left open",
    web({ command: ["{{port"] }),
    [
      'processes.web.command.0: holds "{{" that no "}}" closes: write a template as {{port}}, and two braces themselves as "{{{{"',
    ],
  ],
  [
    "a revision that a shell would run",
    {
      ...web({ shell: true, command: "run {{release.revision}}" }),
      release: { id: "v1", path: "/v1", revision: "$(reboot)" },
    },
    [
      'processes.web.command: {{release.revision}} is "$(reboot)", which the shell would split or run: write "$SLUICE_REVISION" instead, with the quotes',
    ],
  ],
  [
    "a release path that a shell would split",
    { ...web({ shell: true, command: "{{ release.path }}/run" }), release: { id: "v1", path: "/srv/My App" } },
    [
      'processes.web.command: {{release.path}} is "/srv/My App", which the shell would split or run: write "$SLUICE_RELEASE_PATH" instead, with the quotes',
    ],
  ],
  [
    "a path upwards",
    poolInput({ release: { id: "..", path: "/srv/../etc" } }),
    [
      'release.id: ".." is not a release id: use letters, digits, ".", "_" and "-", starting with a letter or digit, at most 64 characters',
      'release.path: "/srv/../etc" is not an absolute path without "..": write it from "/"',
    ],
  ],
  [
    "retention out of range",
    poolInput({ retain: { count: -1, age: "30 days" } }),
    [
      "retain.count: -1 is out of range: use at least 0",
      'retain.age: "30 days" is out of range: use 0 seconds to 20 days',
    ],
  ],
];
for (const [title, input, expected] of refused)
  test(`a pool with ${title} is refused`, () => assert.deepEqual(problems(poolSpec, input), expected));

test("problems of types, of formats and across properties come all at once", () => {
  const input = {
    edge: 7,
    release: { id: "v 1", path: "/srv" },
    ports: { from: 80, to: 20_000 },
    drainDeadline: "soon",
    processes: {
      web: { ...WEB, replicas: "2", command: ["{{ports.cache}}", "{{nope}}"] },
      api: { ...WEB, command: "x" },
      jobs: { policy: "singleton", command: 5, replicas: 2 },
    },
    colour: "red",
  };
  assert.deepEqual(
    problems(poolSpec, input)
      .map((problem) => problem.replace(/: .*/, ""))
      .toSorted(),
    [
      "",
      "drainDeadline",
      "edge",
      "ports.from",
      "processes",
      "processes.api.command",
      "processes.jobs.command",
      "processes.jobs.replicas",
      "processes.web.command.0",
      "processes.web.command.1",
      "processes.web.replicas",
      "release.id",
    ],
  );
});

test("nothing is concluded from what is malformed", () => {
  const noPolicy = poolInput({ processes: { web: { ...WEB, policy: 3 as never } } });
  assert.deepEqual(problems(poolSpec, noPolicy), [
    'processes.web.policy: 3 is not known here: use one of "proxied", "companion", "singleton", "service"',
  ]);
  const oddPort = beside({ policy: "companion", command: ["x", "{{port}}"], port: {}, health: { path: "/" } });
  assert.deepEqual(problems(poolSpec, oddPort), [
    "processes.other.port: an object is not a port: give true, or a service's own port as a number",
  ]);
  assert.deepEqual(problems(poolSpec, { ...poolInput(), processes: [WEB] }), [
    "processes: a list is not an object: give one",
  ]);
  assert.deepEqual(problems(poolSpec, null), [": null is not an object: give one"]);
});
