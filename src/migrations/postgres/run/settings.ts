import type * as Pg from "libpg-query";
import { constantOf } from "../syntax/ast";
import { constantText } from "../syntax/constants";
import type { At, CodeContext } from "../syntax/context";
import type { Execution } from "./execution";
import { DEFAULT_SEARCH_PATH } from "./session";

/** `SET`, and `RESET`. */
export function readSetting(run: Execution, body: Pg.VariableSetStmt, at: At, context: CodeContext): void {
  const { kind, name = "", args = [], is_local } = body;
  if (kind === "VAR_RESET_ALL") {
    run.session.setSearchPath(DEFAULT_SEARCH_PATH, false);
    return;
  }
  const values = args.map(
    (argument) => constantText(argument, new Map()) ?? constantOf(("A_Const" in argument && argument.A_Const) || {}),
  );
  const given = kind === "VAR_SET_VALUE" ? values.map((value) => value ?? "") : undefined;
  applySetting(run, name.toLowerCase(), given, is_local === true, at, context);
}

/** @param values undefined: back to the default */
export function applySetting(
  run: Execution,
  name: string,
  values: readonly string[] | undefined,
  local: boolean,
  at: At,
  context: CodeContext,
): void {
  const value = (values?.[0] ?? "").toLowerCase();
  if (name === "search_path") {
    const path = (values ?? DEFAULT_SEARCH_PATH).filter((schema) => schema !== "" && schema !== "$user");
    run.session.setSearchPath(path, local);
    return;
  }
  if (name === "session_replication_role" && values && value !== "origin") {
    run.judge({ kind: "disable-triggers-of-session", what: `session_replication_role = ${value}` }, at, context);
    return;
  }
  const changesText =
    (name === "standard_conforming_strings" && /^(?:off|false|0|no)$/.test(value)) ||
    (name === "client_encoding" && values !== undefined && !/^(?:utf-?8|unicode)$/.test(value));
  if (changesText)
    run.judge(
      {
        kind: "uninspectable",
        what: `${name} = ${value} makes PostgreSQL read the rest of the file in another way than this checker`,
        fix: "Leave the setting out, and write the file as UTF-8 with standard strings.",
      },
      at,
      context,
    );
}
