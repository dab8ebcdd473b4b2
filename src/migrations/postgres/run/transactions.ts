import type * as Pg from "libpg-query";
import { type FileStatement, TOP } from "../syntax/context";
import type { Execution } from "./execution";

const RUNNER_FIX = "Remove it, or tell the runner (and --transaction none) to run this file without a transaction.";

/** BEGIN, COMMIT and their like, as statements of the file itself. */
export function controlTransaction(run: Execution, body: Pg.TransactionStmt, statement: FileStatement): void {
  const { session } = run;
  const { chain, savepoint_name: savepoint = "" } = body;
  const kind = (body.kind ?? "").replace("TRANS_STMT_", "").replaceAll("_", " ");
  const stray = (problem: string, fix: string) =>
    run.judge({ kind: "transaction-control", what: kind, problem, fix }, statement, TOP);
  const again = () => {
    if (chain) session.begin("explicit", statement.startByte);
  };
  switch (body.kind) {
    case "TRANS_STMT_BEGIN":
    case "TRANS_STMT_START":
      if (session.block === "runner") {
        stray("the runner has opened a transaction already", RUNNER_FIX);
        return;
      }
      if (session.block === "explicit") {
        stray("a transaction is open already", "Remove it.");
        return;
      }
      session.begin("explicit", statement.startByte);
      return;
    case "TRANS_STMT_COMMIT":
    case "TRANS_STMT_ROLLBACK": {
      const back = body.kind === "TRANS_STMT_ROLLBACK";
      if (session.block === "runner")
        stray(
          "it ends the transaction that the runner opened, so a failure of the rest leaves half a migration",
          RUNNER_FIX,
        );
      else if (session.block !== "explicit")
        stray("there is no transaction to end", "Remove it, or open one with BEGIN.");
      if (back) session.rollback();
      else session.commit();
      again();
      return;
    }
    case "TRANS_STMT_SAVEPOINT":
      if (session.block === undefined) {
        stray("there is no transaction to set a savepoint in", "Put BEGIN and COMMIT around it.");
        return;
      }
      session.savepoint(savepoint);
      return;
    case "TRANS_STMT_RELEASE":
    case "TRANS_STMT_ROLLBACK_TO": {
      const known = body.kind === "TRANS_STMT_RELEASE" ? session.release(savepoint) : session.rollbackTo(savepoint);
      if (!known) stray(`there is no savepoint ${savepoint}`, "Set it first.");
      return;
    }
    default:
      stray("a prepared transaction keeps its locks until somebody ends it", "Use a plain transaction.");
      if (body.kind === "TRANS_STMT_PREPARE") session.commit();
  }
}
