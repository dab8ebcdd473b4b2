import assert from "node:assert/strict";
import test from "node:test";
import { startAgent } from "../../../src/agent/client/launch";
import { send } from "../../../src/agent/processes/identity";
import { doctorDocument } from "../../../src/cli/doctor";
import { statusOf } from "../../../src/cli/status/document";
import type { StatusDocument } from "../../../src/cli/status/schema";
import { until } from "../../support/until";
import { brokenHost } from "../support/broken-host";
import { ROWS } from "../support/broken-rows";

const PATIENT = { deadlineMs: 60_000, intervalMs: 100 };

const OVER = / (takes requests|answers|runs|restarts it|can be checked) again\b.*, after /;

test("whatever is broken is said by status and doctor, first where requests fail, with exit 1; all else is all good", async (t) => {
  const host = await brokenHost(t);
  const look = async () => statusOf(await host.client.status(), host.socket, new Date());
  const messagesOf = ({ problems }: StatusDocument) => problems.map(({ subject, message }) => `${subject}: ${message}`);
  const allGood = async () => {
    await until(
      "everything to be good",
      async () => {
        const document = await look();
        if (document.problems.length > 0) throw new Error(messagesOf(document).join("\n"));
        return true;
      },
      PATIENT,
    );
  };
  const untilEvent = (event: RegExp, since: string) =>
    until(
      `the event ${event}`,
      async () => {
        const { stdout } = await host.sluice(["events", "--since", since]);
        return event.test(stdout.replaceAll(/\s+/g, " "));
      },
      PATIENT,
    );
  await allGood();
  const good = await host.sluice(["status"]);
  assert.equal(good.code, 0);
  assert.match(good.stdout, /^all good /);

  for (const { name, breaks, says, outage = false, event, over = OVER } of ROWS)
    await t.test(name, async () => {
      const since = new Date().toISOString();
      const repair = await breaks(host);
      let message = "";
      try {
        await until(
          "it to be said",
          async () => {
            const document = await look();
            const found = document.problems.find(({ subject, message }) => says.test(`${subject}: ${message}`));
            if (found === undefined) throw new Error(messagesOf(document).join("\n"));
            message = `${found.subject}: ${found.message}`;
            assert.equal(found.outage ?? false, outage);
            assert.equal(document.problems[0]?.outage ?? false, outage);
            return true;
          },
          PATIENT,
        );
        const [text, doctor] = await Promise.all([host.sluice(["status"]), host.sluice(["doctor"])]);
        assert.equal(text.code, 1);
        assert.match(unwrapped(text.stdout), outage ? says : /^\d problems? /);
        assert.equal(doctor.code, 1);
        if (outage) assert.match(unwrapped(doctor.stdout), says);
        if (event !== undefined) await untilEvent(event, since);
        if (!outage) assert.match(doctor.stdout.replaceAll(/\s+/g, " "), /PROBLEM (reality|state) /);
      } finally {
        await repair(message);
      }
      await allGood();
      if (event !== undefined) await untilEvent(over, since);
    });

  await t.test("a HAProxy that was killed with its agent, and the guard too", async () => {
    const { observed } = (await host.client.edge("main")) ?? assert.fail();
    const { pid } = await host.client.about();
    for (const each of [host.guard, pid, observed.master ?? assert.fail()]) send(each, "SIGKILL");
    for (const verb of ["status", "doctor"]) {
      const { code, stdout, stderr } = await host.sluice([verb]);
      assert.equal(code, 3, stdout);
      assert.match(
        stderr.replaceAll(/\s+/g, " "),
        /start it again .*; until then nothing supervises its processes and traffic/,
      );
    }
    await startAgent(host.directory, host.socket, AbortSignal.timeout(60_000));
    await allGood();
  });
  const { code, stdout } = await host.sluice(["doctor", "--json"]);
  assert.equal(code, 0);
  const examined = doctorDocument.parse(JSON.parse(stdout));
  assert.deepEqual(
    examined.checks.filter(({ verdict }) => verdict === "problem"),
    [],
  );
});

/** The first sentence of a screen, whatever its width. */
function unwrapped(text: string): string {
  return text.replaceAll(/\n {2}/g, " ").split("\n")[0] ?? "";
}
