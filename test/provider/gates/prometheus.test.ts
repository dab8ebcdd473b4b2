import assert from "node:assert/strict";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import test, { type TestContext } from "node:test";
import type { PrometheusSliGate } from "../../../src/model/gate/gate";
import { checkQuery, type GateContext, SYSTEM_CLOCK, watchGates } from "../../../src/provider/gates";
import { queryPrometheus } from "../../../src/provider/gates/prometheus";
import { startPrometheus, withoutPrometheus } from "../../support/prometheus";
import { until } from "../../support/until";
import { answer, gateContext, gates } from "./support";

const once = { ...gateContext((query) => answer(query)), windowMs: 0 };
const signal = () => AbortSignal.timeout(60_000);

async function serve(t: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Result of checking a query in a preview. */
function checked(url: string, query = "up") {
  const [gate] = gates({ kind: "sli", source: "prometheus", url, query, must: "> 0" });
  return checkQuery(gate as PrometheusSliGate, 600_000, signal());
}

test("queries and templates are judged by a real Prometheus", { skip: withoutPrometheus }, async (t) => {
  let scrapes = 0;
  // Each scrape sees 100 more requests: 98 of 0.2 s, 2 above a second; 1 % of them errors.
  const app = await serve(t, (_, response) => {
    scrapes++;
    const lines = [
      "# TYPE request_seconds histogram",
      `request_seconds_bucket{le="0.1"} 0`,
      `request_seconds_bucket{le="0.2"} ${98 * scrapes}`,
      `request_seconds_bucket{le="1"} ${98 * scrapes}`,
      `request_seconds_bucket{le="+Inf"} ${100 * scrapes}`,
      `request_seconds_sum ${20 * scrapes}`,
      `request_seconds_count ${100 * scrapes}`,
      "# TYPE requests_total counter",
      `requests_total{code="200"} ${99 * scrapes}`,
      `requests_total{code="500"} ${scrapes}`,
      "# TYPE quiet_total counter",
      "quiet_total 0",
    ];
    response.setHeader("content-type", "text/plain; version=0.0.4");
    response.end(`${lines.join("\n")}\n`);
  });
  const { url, kill } = await startPrometheus(t, new URL(app).host);
  await until(
    "some scrapes",
    async () => (await queryPrometheus(url, "rate(request_seconds_count[5s]) > 0", signal())).length > 0,
  );
  const judged = (more: object) =>
    watchGates(gates({ kind: "sli", source: "prometheus", url, interval: "100 milliseconds", ...more } as never), once);
  const over = "10 seconds";
  await judged({ quantile: { metric: "request_seconds", quantile: 0.95, over }, must: "< 500 ms" });
  await assert.rejects(
    judged({ quantile: { metric: "request_seconds", quantile: 0.99, over }, must: "< 500 ms" }),
    /value 1 is not < 500 ms/,
  );
  await judged({ errorRatio: { metric: "requests_total", over }, must: "< 2 %" });
  await assert.rejects(
    judged({ errorRatio: { metric: "requests_total", over }, must: "< 0.5 %" }),
    /value 0\.01 is not < 0\.5 %/,
  );
  // No errors at all are 0, and no requests at all are no value.
  await judged({ errorRatio: { metric: "requests_total", errors: { code: "7.." }, over }, must: "<= 0 %" });
  await assert.rejects(
    judged({ errorRatio: { metric: "quiet_total", over }, must: "< 1 %" }),
    /unavailable 3 times in a row: value NaN is not a number/,
  );
  await judged({ query: "up", must: ">= 1" });
  await judged({ query: "scalar(up)", must: "> 0" });
  await assert.rejects(judged({ query: "up_typo", must: "> 0" }), /unavailable .*the query gives no series/);
  await assert.rejects(judged({ query: "up[1m]", must: "> 0" }), /gives a matrix/);
  await assert.rejects(judged({ query: "sum(up", must: "> 0" }), /Prometheus refuses "sum\(up": .*parse error/);
  assert.match((await checked(url, "sum(up")).problem ?? "", /Prometheus refuses "sum\(up": .*parse error/);
  assert.deepEqual(await checked(url, "sum(up)"), {});
  assert.deepEqual(await checked(url, "up_typo"), {
    warning: '"up_typo" gives no series now: is the metric\'s name right?',
  });
  // Killed within the window.
  const watching = watchGates(gates({ kind: "sli", source: "prometheus", url, query: "up", must: "> 0" }), {
    ...gateContext((query) => answer(query)),
    progress: kill,
    windowMs: 600_000,
  });
  await assert.rejects(watching, /unavailable 3 times in a row: http.* did not answer/);
});

test("a gate judges no sample of before its watch", { skip: withoutPrometheus }, async (t) => {
  let seconds = 1.5;
  let requests = 0;
  const app = await serve(t, (_, response) => {
    requests += 100;
    const fast = seconds < 0.5 ? requests : 0;
    response.setHeader("content-type", "text/plain; version=0.0.4");
    response.end(
      [
        "# TYPE p95_seconds gauge",
        `p95_seconds ${seconds}`,
        "# TYPE request_seconds histogram",
        `request_seconds_bucket{le="0.5"} ${fast}`,
        `request_seconds_bucket{le="2"} ${requests}`,
        `request_seconds_bucket{le="+Inf"} ${requests}`,
        "",
      ].join("\n"),
    );
  });
  const { url } = await startPrometheus(t, new URL(app).host);
  const range = "[2s]";
  const quantile = `histogram_quantile(0.95, sum by (le) (rate(request_seconds_bucket${range})))`;
  const slow = async (query: string) => (await queryPrometheus(url, `${query} > 1`, signal())).length > 0;
  await until("samples of the release before", async () => (await slow("p95_seconds")) && (await slow(quantile)));
  // The release changes, and its counters begin anew.
  seconds = 0.1;
  requests = 0;
  const watch = (query: string, more: Partial<GateContext> = {}) =>
    watchGates(
      gates({ kind: "sli", source: "prometheus", url, query, must: "< 500 ms", interval: "100 milliseconds" }),
      { ...once, clock: SYSTEM_CLOCK, ...more },
    );
  await assert.rejects(
    watch("p95_seconds", { judgesPast: true }),
    /failed: __name__="p95_seconds",\S+ 1\.5 is not < 500 ms/,
  );
  const [[gauge], [histogram]] = await Promise.all([watch("p95_seconds"), watch(quantile)]);
  for (const record of [gauge, histogram]) {
    const verdicts = record?.measurements.map(({ verdict }) => verdict) ?? [];
    assert.deepEqual([...new Set(verdicts)], ["insufficient", "pass"]);
  }
  assert.match(gauge?.measurements[0]?.text ?? "", /a sample of p95_seconds is \S+ m?s old, of before this watch/);
  assert.match(histogram?.measurements[0]?.text ?? "", /the query looks 2 s back, to before this watch: judged in /);
  // A release that stays slow is found out all the same.
  seconds = 1.5;
  await assert.rejects(watch(quantile, { windowMs: 1000 }), /gate sli: failed: value 1\.\d+ is not < 500 ms/);
});

test("what does not answer as Prometheus does is unavailable, in words", async (t) => {
  const bodies: Record<string, string> = {
    html: "<html>Sign in</html>",
    other: '{"hello": "world"}',
    empty: "",
    nan: '{"status":"success","data":{"resultType":"scalar","result":[1,"NaN"]}}',
    inf: '{"status":"success","data":{"resultType":"scalar","result":[1,"+Inf"]}}',
    error: '{"status":"error","errorType":"timeout","error":"query timed out"}',
  };
  const url = await serve(t, (request, response) => {
    const [, key = ""] = (request.url ?? "").split("/");
    if (key === "down") response.statusCode = 502;
    if (key === "html") response.setHeader("content-type", "text/html");
    response.end(bodies[key]);
  });
  const judged = (key: string) =>
    watchGates(gates({ kind: "sli", source: "prometheus", url: `${url}/${key}`, query: "up", must: "> 0" }), once);
  await assert.rejects(
    judged("html"),
    /unavailable .* answered 200 with a web page \(HTML\): is it the address of a Prometheus server\?/,
  );
  await assert.rejects(judged("other"), /JSON that is not Prometheus'/);
  await assert.rejects(judged("empty"), /something that is no JSON/);
  await assert.rejects(judged("nan"), /value NaN is not a number/);
  await assert.rejects(judged("inf"), /value Infinity is not a number/);
  await assert.rejects(judged("error"), /could not evaluate the query: query timed out/);
  // A preview tells a wrong address, which it refuses, from a server that is down, of which it warns.
  assert.match((await checked(`${url}/html`)).problem ?? "", /with a web page \(HTML\): is it the address of/);
  assert.match((await checked(`${url}/other`)).problem ?? "", /JSON that is not Prometheus'/);
  assert.match((await checked(`${url}/down`)).warning ?? "", /its query could not be checked: .* answered 502/);
  assert.match((await checked("http://127.0.0.1:1")).warning ?? "", /did not answer/);
});
