import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import test from "node:test";
import { between } from "../support/parity";
import { scores, sluice } from "../support/sluice";

test("headers on the command line are refused without being shown", async (t) => {
  const { parity, write } = await between(t, [1], [1]);
  const given = async (...args: string[]) => {
    const { code, stderr } = await parity([scores("chess")], args);
    assert.equal(code, 2);
    assert.ok(!stderr.includes("s3cr3t"), stderr);
    return stderr;
  };
  assert.match(await given("--headers", "Authorization: s3cr3t"), /by the name of a file, or by "env:NAME"/);
  assert.match(await given("--headers", "env:SLUICE_NOT_SET"), /SLUICE_NOT_SET is empty: set it/);
  assert.match(await given("--headers", await write("a", "s3cr3t")), /line 1: has no ":"/);
  assert.match(await given("--headers", await write("b", '{"a": s3cr3t}')), /is not JSON/);
  assert.match(
    await given("--headers", await write("c", "Bad Name: s3cr3t")),
    /Bad Name: "Bad Name" is not a header's name/,
  );
});

test("unusable command lines and files exit with 2, with every problem at once, and leave no report", async (t) => {
  const { parity, folder, write } = await between(t, [1], [1]);
  const refused = async (extra: string[], ...expected: RegExp[]) => {
    const { code, stderr, stdout } = await parity([scores("chess")], extra);
    assert.equal(code, 2, stdout);
    for (const pattern of expected) assert.match(stderr, pattern);
  };
  await refused(
    [
      "--precision",
      "-1",
      "--concurrency",
      "0",
      "--timeout",
      "0",
      "--sample",
      "150%",
      "--pointer",
      "data",
      "--limit",
      "1.5",
    ],
    /--precision: "-1" is not a whole number/,
    /--concurrency: 0 is out of range: use at least 1/,
    /--timeout: is out of range: use 0.001 to 3600 seconds/,
    /--sample: is out of range/,
    /--pointer: "data" is not a JSON pointer: write one such as "\/data\/rows"/,
    /--limit: "1.5" is not a whole number/,
  );
  await refused(
    ["--upstream-path", "/a/{gmae}"],
    /\{gmae\} is not a placeholder of a path: use one of \{env\}, \{game\}/,
  );
  await refused(["--upstream-url", "http://u:p4ss@host"], /--upstream-url: holds a user or password/);
  await refused(["--report", `${folder}/none/parity.json`], /--report: .*none/);
  await refused(["--requests", `${folder}/none.jsonl`], /none.jsonl" does not exist/);
  await refused(["--requests", folder], /is a folder/);
  await refused(
    ["--report", `${folder}/mapping.json`],
    /mapping.json" is an input as well, which the report would replace/,
  );
  await refused(["--report", "/dev/null"], /--report: "\/dev\/null" is not a file/);
  await refused(["--report", folder], /is not a file: give another name/);
  await refused(["--concurency", "3"], /unknown option '--concurency'\n\(Did you mean --concurrency\?\)/);
  await refused(["surplus"], /too many arguments/);
  const mapping = await write(
    "bad.json",
    '{\n  "a": "/x",\n  "b": "no good",\n  "a": "/y",\n  "c": {"path": "/{gam}"}\n}',
  );
  await refused(
    ["--mapping", mapping],
    /bad.json, line 3: "b": path: "no good" is not an endpoint/,
    /bad.json, line 4: "a" stands on line 2 already: keep one of them/,
    /bad.json, line 5: "c": path: \{gam\} is not a placeholder/,
  );
  await refused(["--mapping", await write("worse.json", '{\n"a": \n}')], /worse.json, line 3: is not JSON: "}"/);
  assert.equal((await sluice([])).code, 2);
  assert.equal((await sluice(["party"])).code, 2);
  assert.match((await sluice(["parity"])).stderr, /--requests: is missing.*--report: is missing/s);
  const help = await sluice(["parity", "--help"]);
  assert.deepEqual([help.code, help.stderr], [0, ""]);
  assert.match(help.stdout, /Exit codes: 0 clean, 1 a mismatch, an error, or nothing compared, 2 usage\./);
  assert.deepEqual(
    readdirSync(folder).filter((name) => /parity\.json|entries|tmp/.test(name)),
    [],
  );
});
