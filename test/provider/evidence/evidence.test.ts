import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import type { EvidenceRecord } from "../../../src/model/evidence/record";
import { declaredRoute } from "../../../src/model/route/route";
import { rollOutRoute } from "../../../src/provider/rollout/route-rollout";
import { runGates } from "../../../src/provider/rollout/stage-gates";
import type { Context } from "../../../src/provider/server";
import { complete, ended } from "../../agent/evidence/support";
import { chromiumProblem, withPage } from "../../support/chromium";
import { startHarness } from "../../support/harness";
import { startServer } from "../../support/server";

const URN = "urn:pulumi:prod::shop::shop:index:Front$sluice:index:Route::api-route";
/** Between two requests of the load, in milliseconds. */
const PAUSE_MS = 15;

/** A metered edge under load with two backends, of which green can be made to fail. */
async function meteredRoute(t: TestContext) {
  const state = { fails: false, load: true };
  const running: Promise<void>[] = [];
  // Before the agent ends: such work is done in the order in which it was asked for.
  t.after(async () => {
    state.load = false;
    await Promise.all(running);
  });
  const backends = {
    blue: await startServer(t, (_request, response) => response.end("blue")),
    green: await startServer(t, (_request, response) => response.writeHead(state.fails ? 500 : 200).end("green")),
  };
  const agent = await startHarness(t, { backends, meter: true });
  const load = async () => {
    while (state.load) {
      await fetch(agent.url).then((response) => response.text());
      await sleep(PAUSE_MS);
    }
  };
  running.push(load());
  return { agent, url: `${agent.url}/`, state };
}

function contextOf(): Context {
  const say = () => undefined;
  const log = { debug: say, info: say, warn: say, error: say, progress: say };
  const { signal } = new AbortController();
  return { urn: URN, name: "api-route", type: "sluice:index:Route", preview: false, signal, log, secrets: [] };
}

/** A rollout whose first stage passes and whose second one is breached: its record and its page. */
async function breachedRollout(t: TestContext) {
  const { agent, url, state } = await meteredRoute(t);
  const declared = declaredRoute.parse({
    ...{ edges: ["main"], stable: "blue", candidate: "green", stage: "50%" },
    stages: [
      { split: "10%", window: "3 seconds", gates: [{ kind: "http", url, interval: "500 milliseconds" }] },
      {
        ...{ split: "50%", window: "5 minutes" },
        gates: [
          { kind: "sli", thresholds: ["errors < 5 %", "p95 < 2 s"], minRequests: 5, interval: "500 milliseconds" },
        ],
      },
    ],
  });
  const rollout = rollOutRoute([{ client: agent.client, edges: ["main"] }], "api", declared, contextOf(), {
    runGates: (stage, context) => {
      state.fails = stage.name === "50%";
      return runGates(stage, context);
    },
  });
  await assert.rejects(rollout, /stage 50% of route api: gate sli: failed: errors/);
  const [summary] = await agent.client.evidence(1);
  assert.ok(summary !== undefined);
  const { folder = "", ...rest } = await ended(agent, summary.id);
  const files = await complete(folder);
  return { summary: rest, folder, record: JSON.parse(files["evidence.json"] ?? "") as EvidenceRecord };
}

test("the evidence of a rollout holds its program, stages, what gates measured, and both sides' figures; its page shows them", async (t) => {
  const { summary, folder, record } = await breachedRollout(t);
  assert.deepEqual([summary.target, summary.verdict, summary.ending], ["route/api", "undone", "abort"]);
  assert.match(summary.reason ?? "", /^stage 50% of route api: gate sli: failed: errors [\d.]+ %, not < 5 %/);

  await t.test("program and revision", () => {
    // The job is only there if one runs this.
    const { git, ci: _job, update, ...program } = record.program ?? { urn: "" };
    assert.deepEqual(program, {
      urn: URN,
      project: "shop",
      stack: "prod",
      type: "sluice:index:Route",
      name: "api-route",
    });
    assert.match(update ?? "", /^[0-9a-f-]{36}$/);
    const head = execFileSync("git", ["rev-parse", "HEAD"], { encoding: "utf8" }).trim();
    assert.equal(git?.revision, head);
    assert.equal(typeof git?.dirty, "boolean");
  });

  await t.test("stages, splits and gates", () => {
    const texts = (kind: string) => record.marks.filter((mark) => mark.kind === kind).map(({ text }) => text);
    assert.deepEqual(texts("stage"), [
      "stage 10%, 10% to the candidate, watched for 3 s",
      "stage 50%, 50% to the candidate, watched for 5 min",
    ]);
    assert.equal(texts("breach").length, 1);
    assert.deepEqual(
      record.splits.map(({ parts }) => parts),
      [0, 1000, 5000, 0],
    );
    const [http, sli] = record.gates;
    assert.deepEqual([http?.stage, http?.gate, http?.outcome], ["10%", "http", "pass"]);
    assert.ok((http?.probes.pass ?? 0) > 1);
    assert.deepEqual([sli?.stage, sli?.gate, sli?.outcome], ["50%", "sli", "breach"]);
    assert.deepEqual(sli?.limits, ["errors < 5 %", "p95 < 2 s", "at least 5 requests"]);
    assert.deepEqual(sli?.bounds, [
      { metric: "errors", limit: 0.05 },
      { metric: "p95", limit: 2000 },
    ]);
    assert.equal(sli?.probes.fail, 1);
    const last = sli?.measurements.at(-1);
    assert.equal(last?.verdict, "fail");
    assert.ok((last?.values.errors ?? 0) > 0.05);
  });

  await t.test("figures of both sides", () => {
    const points = (role: string) => record.series.find((series) => series.role === role)?.points ?? [];
    const sum = (role: string, key: "requests" | "errors") => points(role).reduce((all, point) => all + point[key], 0);
    assert.deepEqual(
      record.series.map(({ role }) => role),
      ["stable", "candidate"],
    );
    assert.ok(sum("stable", "requests") > 20);
    assert.equal(sum("stable", "errors"), 0);
    assert.ok(sum("candidate", "errors") > 0);
    assert.ok(points("candidate").length <= 240);
    const stage = record.stretches.find(({ title }) => title === "stage 50%");
    const candidate = stage?.figures.find(({ role }) => role === "candidate");
    assert.ok(stage === undefined || (candidate?.errors ?? 0) > 0);
  });

  await t.test("in a browser", { skip: chromiumProblem() ?? false }, async () => {
    await withPage(pathToFileURL(join(folder, "index.html")).href, async (page) => {
      const texts = (selector: string) =>
        page.evaluate<string[]>(
          `[...document.querySelectorAll(${JSON.stringify(selector)})].map((e) => e.textContent)`,
        );
      assert.equal(await page.evaluate("document.title"), "undone · route/api: new (50%)");
      assert.deepEqual(await texts("figcaption h3"), [
        "Candidate's share of the requests",
        "Error ratio: answered with 5xx, or cut off",
        "p95: 95 % of the requests were faster",
        "p99: 99 % of the requests were faster",
        "Requests",
      ]);
      // Each chart has the breach's mark, the stages, and lines that are drawn within it.
      const drawn = await page.evaluate<{ breach: number; bands: string[]; lines: number; inside: boolean }[]>(`
        [...document.querySelectorAll("svg.chart.wide")].map((svg) => {
          const box = svg.getBoundingClientRect();
          const within = ({ left, right, top, bottom }) =>
            left >= box.left && right <= box.right && top >= box.top && bottom <= box.bottom;
          const shapes = [...svg.querySelectorAll(".line path, .line circle, .mark line")];
          return {
            breach: svg.querySelectorAll(".mark.breach path").length,
            bands: [...svg.querySelectorAll(".band > title")].map((title) => title.textContent),
            lines: [...svg.querySelectorAll(".line")].filter((line) => line.querySelector("path, circle")).length,
            inside: shapes.length > 0 && shapes.every((shape) => within(shape.getBoundingClientRect())),
          };
        })`);
      for (const chart of drawn)
        assert.deepEqual({ ...chart, lines: 2 }, { breach: 1, bands: ["10%", "50%"], lines: 2, inside: true });
      assert.ok(drawn.every(({ lines }) => lines >= 2));
      assert.equal(drawn.length, 5);
      assert.ok((await texts(".limit text")).includes("limit 2000 ms, above this chart"));
      assert.equal(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), true);
      assert.ok((await page.pdf()).length > 10_000);
      assert.deepEqual(await texts("ol.stages strong"), ["10%", "50%"]);
      assert.deepEqual(await texts(".why tr.broken th"), ["errors"]);
      // On a phone, other charts are shown, whose letters are as large as all others.
      await page.resize(390);
      const shown = await page.evaluate<string[]>(
        `[...document.querySelectorAll("svg.chart")].filter((svg) => svg.getBoundingClientRect().width > 0).map((svg) => svg.classList[1])`,
      );
      assert.deepEqual(shown, Array(5).fill("narrow"));
      assert.equal(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), true);
      assert.deepEqual(page.complaints, []);
      const loaded = page.requests.filter((url) => !url.startsWith("data:"));
      assert.deepEqual(loaded, [pathToFileURL(join(folder, "index.html")).href]);
    });
  });
});
