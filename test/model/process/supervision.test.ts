import assert from "node:assert/strict";
import test from "node:test";
import { poolSpec, poolSpecWith } from "../../../src/model/pool/pool";
import { poolInput, problems, WEB } from "../support/pools";

/** A pool whose proxied process has these properties, and one whose other process has. */
const web = (parts: object) => ({ ...poolInput(), processes: { web: { ...WEB, ...parts } } });
const beside = (parts: object) => ({
  ...poolInput(),
  processes: { web: WEB, side: { policy: "companion", command: ["x"], ...parts } },
});

const good: [string, object][] = [
  [
    "all commands of an end",
    beside({ lifecycle: { quiet: ["a"], drain: ["b"], drainTimeout: "1 minute", stop: ["c"] } }),
  ],
  ["a wait without a command", beside({ lifecycle: { drainTimeout: "1 hour" } })],
  ["health by a connection", web({ health: { tcp: true } })],
  ["health by a command, without a port", beside({ health: { command: ["check", "{{process.id}}"] } })],
  ["health by a line, without a port", beside({ health: { line: "ready" } })],
  ["memory of replicas", web({ replicas: 2, memory: { limit: "1 GiB", warning: "800 MiB" } })],
  ["limits of the kernel", beside({ limits: { cpu: 0.5, memory: "1 GiB", optional: true } })],
  ["a user with a group", beside({ user: "www-data", group: "adm" })],
  ["a user by number", beside({ user: "1000", group: "1000" })],
  ["replicas of a service without a port", beside({ policy: "service", replicas: 3 })],
  ["a service that hands over its port", beside({ policy: "service", port: 6379, handoff: true, replicas: 2 })],
];
for (const [title, input] of good) test(`${title} is taken`, () => assert.deepEqual(problems(poolSpec, input), []));

test("secret values that are handed over on descriptors are taken", () => {
  const secret = beside({ env: { PASSWORD: "{{x", KEY: "k" }, secrets: { PASSWORD: { fd: 3 }, KEY: { fd: 8 } } });
  assert.deepEqual(problems(poolSpecWith({ side: ["PASSWORD", "KEY"] }), secret), []);
});

const bad: [string, object, string[]][] = [
  [
    "an environment of a megabyte",
    beside({ env: Object.fromEntries(Array.from({ length: 16 }, (_, index) => [`V${index}`, "x".repeat(65_536)])) }),
    [
      "processes.side.env: has 1048614 bytes, and the pool's environments 1048614 in all, of which 983040 can be: put what is large into a file of the release",
    ],
  ],
  [
    "a memory limit at which the kernel has killed the process",
    beside({ memory: { limit: "512 MiB" }, limits: { memory: "512 MiB" } }),
    [
      'processes.side.memory.limit: "512 MiB" is not below limits.memory of 512 MiB, at which the kernel kills it: make it smaller',
    ],
  ],
  [
    "a handover of what is not secret, of what is not there, and on a descriptor that is taken",
    beside({ env: { PLAIN: "x" }, secrets: { PLAIN: { fd: 3 }, OTHER: { fd: 3 }, ABSENT: { fd: 4 } } }),
    [
      "processes.side.env.PLAIN: is to be kept out of the environment, but is not secret: use config.requireSecret or pulumi.secret",
      "processes.side.secrets.OTHER.fd: 3 is also that of PLAIN: use another one",
      "processes.side.secrets.ABSENT: is not a variable of env: add its value there, as a secret",
    ],
  ],
  [
    "a drain command without a timeout",
    beside({ lifecycle: { drain: ["x"] } }),
    ['processes.side.lifecycle.drain: a drain command needs its time: add drainTimeout, such as "1 minute"'],
  ],
  [
    "a drain command with a timeout of nothing",
    beside({ lifecycle: { drain: ["x"], drainTimeout: "0 seconds" } }),
    ['processes.side.lifecycle.drain: a drain command needs its time: add drainTimeout, such as "1 minute"'],
  ],
  [
    "a stop command with a stop signal of its own",
    beside({ lifecycle: { stop: ["x"] }, stopSignal: "SIGINT" }),
    [
      'processes.side.stopSignal: "SIGINT" is never sent where lifecycle.stop ends the process: leave out one of the two',
    ],
  ],
  [
    "a command that is one text",
    beside({ lifecycle: { quiet: "kill -USR1" } }),
    ['processes.side.lifecycle.quiet: "kill -USR1" is not a list: give one'],
  ],
  [
    "an unknown template in a command",
    beside({ lifecycle: { quiet: ["a", "{{pid}}"] } }),
    [
      'processes.side.lifecycle.quiet.1: {{pid}} is not a template: use one of release.id, release.path, release.revision, process.id, replica.index, replica.count, port, edge.address, ports.<process>, host.env.<NAME>, or "{{{{" for the two braces themselves',
    ],
  ],
  [
    "health in two ways",
    web({ health: { path: "/", tcp: true } }),
    ["processes.web.health: has path and tcp: give one of path, tcp, command, line"],
  ],
  [
    "health in no way",
    web({ health: { rise: 2 } }),
    ["processes.web.health: declares no check: give one of path, tcp, command, line"],
  ],
  [
    "health by a connection without a port",
    beside({ health: { tcp: true } }),
    ["processes.side.health: this health check needs a port: add port"],
  ],
  [
    "counts and times out of range",
    beside({ health: { line: "up", rise: 0, fall: 1000, checkInterval: "1 millisecond" } }),
    [
      'processes.side.health.checkInterval: "1 millisecond" is out of range: use 100 milliseconds to 1 hour',
      "processes.side.health.rise: 0 is out of range: use at least 1",
      "processes.side.health.fall: 1000 is out of range: use at most 100",
    ],
  ],
  [
    "a warning at the limit",
    beside({ memory: { limit: "1 GiB", warning: "1024 MiB" } }),
    ['processes.side.memory.warning: "1024 MiB" is not below the limit of 1 GiB: make it smaller'],
  ],
  [
    "memory without a unit",
    beside({ memory: { limit: 512 } }),
    ['processes.side.memory.limit: 512 is not a size: write a text such as "512 MiB"'],
  ],
  [
    "a memory limit of the only replica",
    web({ memory: { limit: "1 GiB" } }),
    [
      "processes.web.memory: a proxied process with one replica would cut its traffic when it restarts for its memory: declare replicas: 2 or more, or leave memory out",
    ],
  ],
  [
    "restarts out of range",
    beside({ restart: { maxRestarts: -1, factor: 0, window: "1" } }),
    [
      "processes.side.restart.factor: 0 is out of range: use at least 1",
      "processes.side.restart.maxRestarts: -1 is out of range: use at least 0",
      'processes.side.restart.window: "1" is not a duration: write a number, a space and a unit, such as "30 seconds"',
    ],
  ],
  [
    "a user that is none",
    beside({ user: "www data; reboot" }),
    ['processes.side.user: "www data; reboot" is not the name or number of an account: write it as the host has it'],
  ],
  ["a group without a user", beside({ group: "adm" }), ["processes.side.group: a group goes with a user: add user"]],
  [
    "a handoff of a companion",
    beside({ handoff: true }),
    ["processes.side.handoff: a companion is replaced per release anyway: leave handoff out"],
  ],
  [
    "a handoff without a port",
    beside({ policy: "service", handoff: true }),
    ["processes.side.handoff: hands its port over, but has none: add its port as a number"],
  ],
  [
    "a singleton that does not wait",
    beside({ policy: "singleton", nonBlockingDrain: true }),
    ["processes.side.nonBlockingDrain: a singleton does not wait for others to drain: leave nonBlockingDrain out"],
  ],
  [
    "too few files, and files that are too many",
    beside({ limits: { files: 2 }, output: { keep: 21, maxSize: "1 KiB" } }),
    [
      "processes.side.limits.files: 2 is out of range: use at least 16",
      'processes.side.output.maxSize: "1 KiB" is out of range: use 64 KiB to 1 GiB',
      "processes.side.output.keep: 21 is out of range: use at most 20",
    ],
  ],
];
for (const [title, input, expected] of bad)
  test(`${title} is refused`, () => assert.deepEqual(problems(poolSpec, input), expected));
