import { evidenceQuery } from "../../model/evidence/record";
import { declarer, disowned } from "../../model/protocol/ownership";
import { openRequest, step } from "../../model/protocol/transaction";
import { compareStep } from "../host/compare";
import { observeBackend, observeEdge, observePool, planStep } from "../host/observe";
import { recover, unrecovered } from "../operator/recovery";
import { observeRoute } from "../transactions/routes";
import { bodyOf, type Handler, parse, queryOf } from "./call";
import { check, doctor, releaseCheck } from "./checks";
import { findArtifact, settle, shutdown } from "./host";
import { metrics, sample, sli } from "./measurements";
import { aboutNow, status } from "./status";
import { followEvents, output, restart, runStep } from "./streams";
import { abort, oneEvidence, takeNotes } from "./transactions";

/** Without the one name that every object has and no resource may have. */
const NAME = "(?!constructor(?:/|$))([a-z][a-z0-9-]{0,39})";

const ID = "([0-9a-f-]{36})";

const DIGEST = "([0-9a-f]{64})";

/** Method, path pattern, handler. */
export const ROUTES: [method: string, path: RegExp, handler: Handler][] = [
  ["GET", /^\/v1\/about$/, async ({ parts }) => ({ agent: await aboutNow(parts) })],
  ["GET", /^\/v1\/status$/, status],
  ["GET", new RegExp(`^/v1/edges/${NAME}$`), ({ parts, params }) => observeEdge(parts.host, params[0] ?? "")],
  ["GET", new RegExp(`^/v1/pools/${NAME}$`), ({ parts, params }) => observePool(parts.host, params[0] ?? "")],
  [
    "GET",
    new RegExp(`^/v1/backends/${NAME}/${NAME}$`),
    ({ parts, params }) => observeBackend(parts.host, params[0] ?? "", params[1] ?? ""),
  ],
  ["GET", new RegExp(`^/v1/routes/${NAME}$`), ({ parts, params }) => observeRoute(parts.host, params[0] ?? "")],
  ["GET", new RegExp(`^/v1/routes/${NAME}/sample$`), sample],
  ["GET", /^\/v1\/mirror$/, ({ parts }) => parts.mirror.figures()],
  ["GET", /^\/v1\/events$/, followEvents],
  ["GET", /^\/v1\/processes\/([a-z0-9][a-z0-9.@_-]{0,119})\/output$/, output],
  ["GET", /^\/v1\/doctor$/, doctor],
  ["GET", /^\/v1\/recovery$/, async ({ parts }) => ({ items: await unrecovered(parts.operator.recovery) })],
  ["POST", /^\/v1\/recovery$/, async ({ parts }) => ({ items: await recover(parts.operator.recovery) })],
  ["POST", /^\/v1\/releases\/check$/, releaseCheck],
  ["GET", /^\/v1\/sli$/, sli],
  ["GET", /^\/v1\/meter$/, async ({ parts }) => parts.meter.status()],
  ["GET", /^\/v1\/metrics$/, metrics],
  ["POST", /^\/v1\/check$/, check],
  ["POST", /^\/v1\/compare$/, async ({ parts, body }) => compareStep(parts.host, parse(step, body))],
  ["POST", /^\/v1\/plan$/, async ({ parts, body }) => planStep(parts.host, parse(step, body))],
  ["POST", /^\/v1\/transactions$/, async ({ parts, body }) => parts.transactions.begin(parse(openRequest, body))],
  [
    "GET",
    new RegExp(`^/v1/transactions/${ID}$`),
    async ({ parts, params }) => parts.transactions.status(params[0] ?? ""),
  ],
  [
    "POST",
    new RegExp(`^/v1/transactions/${ID}/renew$`),
    async ({ parts, params }) => parts.transactions.renew(params[0] ?? ""),
  ],
  ["POST", new RegExp(`^/v1/transactions/${ID}/steps$`), runStep],
  [
    "POST",
    new RegExp(`^/v1/transactions/${ID}/commit$`),
    ({ parts, params }) => parts.transactions.commit(params[0] ?? ""),
  ],
  ["POST", new RegExp(`^/v1/transactions/${ID}/abort$`), abort],
  ["POST", new RegExp(`^/v1/transactions/${ID}/notes$`), takeNotes],
  [
    "GET",
    /^\/v1\/evidence$/,
    ({ parts, request }) => parts.evidence.list(parse(evidenceQuery, queryOf(request)).limit),
  ],
  ["GET", new RegExp(`^/v1/evidence/${ID}$`), oneEvidence],
  ["POST", new RegExp(`^/v1/pools/${NAME}/settle$`), settle],
  ["POST", new RegExp(`^/v1/pools/${NAME}/restart$`), restart],
  ["GET", new RegExp(`^/v1/artifacts/${DIGEST}$`), findArtifact],
  [
    "PUT",
    new RegExp(`^/v1/artifacts/${DIGEST}$`),
    async ({ parts, params, request }) => ({
      path: await parts.host.artifacts.receive(params[0] ?? "", bodyOf(request)),
    }),
  ],
  ["POST", /^\/v1\/declarers$/, async ({ parts, body }) => parts.host.declare(parse(declarer, body))],
  ["POST", /^\/v1\/disown$/, async ({ parts, body }) => parts.host.disown(parse(disowned, body).stack)],
  ["POST", /^\/v1\/reload$/, async ({ parts }) => parts.reload()],
  ["POST", /^\/v1\/shutdown$/, shutdown],
];
