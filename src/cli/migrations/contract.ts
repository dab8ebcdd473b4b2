import type { CheckResult, Finding } from "../../migrations";

/**
 * The result where some files are of the contract phase: what they take away is a condition then, which the reader must see
 * to, and no error.
 *
 * @param contracts paths of those files
 */
export function contracted({ files }: CheckResult, contracts: ReadonlySet<string>): CheckResult {
  const judged = files.map((file) => {
    if (!contracts.has(file.path)) return file;
    const findings = file.findings.map(conditional);
    const unsafe = findings.some(({ level }) => level === "error");
    return { ...file, findings, verdict: unsafe ? ("unsafe" as const) : ("safe" as const) };
  });
  return { verdict: judged.every(({ verdict }) => verdict === "safe") ? "safe" : "unsafe", files: judged };
}

function conditional(finding: Finding): Finding {
  if (finding.level !== "error" || !finding.contractable) return finding;
  const condition =
    "As a contract migration it is safe only where no release that runs, or is kept for a rollback, relies on that";
  return { ...finding, level: "warn", message: `${finding.message} ${condition}.` };
}
