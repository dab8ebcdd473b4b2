import type { Dialect, FileResult, MigrationFile, TransactionMode } from "./finding";

/** Migrations of other databases: what can't be judged is said, and counts as unsafe. */
export async function judgeOtherDialect(
  dialect: Exclude<Dialect, "postgres">,
  files: readonly MigrationFile[],
  _transaction: TransactionMode,
): Promise<FileResult[]> {
  return files.map(({ path }) => ({
    path,
    verdict: "unsafe",
    findings: [
      {
        rule: "unknown-code",
        level: "error",
        question: "locks",
        file: path,
        line: 1,
        column: 1,
        statement: "",
        message: `This can't be judged: statements of ${dialect} are not read.`,
        locks: "not known",
        fix: "Judge it by hand, and bypass this finding.",
        contractable: false,
        affects: [],
      },
    ],
  }));
}
