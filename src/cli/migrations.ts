import { Command, InvalidArgumentError, Option } from "commander";
import { type CheckResult, checkMigrations, type Dialect } from "../migrations";
import { RUNNERS, type Runner, TRANSACTION_MODES, type TransactionMode } from "../model/policy/migration-runner";
import { safeJson, safeText } from "../model/types/safe-text";
import { EXIT, type ExitCode, type Terminal } from "./common/exit";
import { appliedUpTo, filesOf, unchangedSince } from "./migrations/applied";
import { contracted } from "./migrations/contract";
import { explainText, rulesText } from "./migrations/explain";
import { FORMATS, type Format, githubText, junitText, sarifDocument } from "./migrations/formats";
import { checkDocument, checkText } from "./migrations/report";
import { readMigrations, readSchema } from "./migrations/sources";

const DETAILS = `
Each file is checked as pending after the ones before it, which define the database at that point. Folders are read with
their subfolders, in the order of versions; undo files are left out. The runner is told by the names and annotations of
the files, and is named in the result. - is standard input, such as the output of Django's sqlmigrate or Rails' log.

Exit codes: ${EXIT.good} safe, ${EXIT.problems} unsafe, ${EXIT.usageError} usage.`;

interface CheckGiven {
  dialect: Dialect;
  transaction?: TransactionMode;
  runner?: Runner;
  postgres?: number;
  schema?: string;
  since?: string;
  applied?: string;
  contract?: readonly string[];
  details?: boolean;
  format: Format;
  json?: boolean;
}

/** @param chosen whether the reader has said which findings to see */
function written(result: CheckResult, format: Format, chosen: boolean): string {
  switch (format) {
    case "json":
      return `${safeJson(checkDocument(result), 2)}\n`;
    case "github":
      return safeText(githubText(result));
    case "sarif":
      return `${safeJson(sarifDocument(result), 2)}\n`;
    case "junit":
      return safeText(junitText(result));
    case "text":
      return safeText(checkText(result, chosen));
  }
}

function readVersion(given: string): number {
  if (!/^1[2-8]$/.test(given)) throw new InvalidArgumentError("Known versions are 12 to 18.");
  return Number(given);
}

/** `sluice migrations`: checks SQL migrations without Pulumi, and explains the rules. */
export function migrationsCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  const migrations = new Command("migrations").description(
    "Checks whether SQL migrations are safe while two releases overlap.",
  );
  migrations
    .command("check")
    .description("Says for each migration whether it is safe, why not, and what to write instead.")
    .argument("<path...>", "files in their order, folders, or - for standard input")
    .addOption(
      new Option("--dialect <dialect>", "dialect of the SQL")
        .choices(["postgres", "mysql", "sqlite"])
        .default("postgres"),
    )
    .addOption(
      new Option(
        "--transaction <mode>",
        "whether the runner wraps each file in a transaction (default: as it does)",
      ).choices(TRANSACTION_MODES),
    )
    .addOption(new Option("--runner <runner>", "program that runs the files (default: told by them)").choices(RUNNERS))
    .addOption(
      new Option("--postgres <version>", "major version of the server, 12 to 18 (default: any)").argParser(readVersion),
    )
    .option("--schema <file>", "SQL of the database so far, such as the output of pg_dump --schema-only")
    .option("--since <revision>", "judge only files that the branch adds or changes since it left the revision, by git")
    .option("--applied <version>", "judge only files after this version or name")
    .option(
      "--contract <version>",
      "a file of the contract phase, where taking something away is no error; may be given again",
      (given: string, before: readonly string[] = []) => [...before, given],
    )
    .option("--details", "print every finding, also where there are many")
    .addOption(new Option("--format <format>", "form of the result").choices(FORMATS).default("text"))
    .option("--json", "the same as --format json")
    .addHelpText("after", DETAILS)
    .action(async (paths: string[], given: CheckGiven) => {
      const { dialect, transaction, runner, postgres, schema, since, applied, contract, details, json, format } = given;
      const files = await readMigrations(paths, terminal.stdin);
      const ran = new Set([
        ...(since === undefined ? [] : await unchangedSince(files, since)),
        ...(applied === undefined ? [] : appliedUpTo(files, applied)),
      ]);
      const contracts = filesOf(files, contract ?? []);
      const checked = await checkMigrations(files, {
        dialect,
        ...(transaction !== undefined && { transaction }),
        ...(runner !== undefined && { runner }),
        ...(postgres !== undefined && { postgres }),
        applied: ran,
        ...(schema !== undefined && { schema: await readSchema(schema, terminal.stdin) }),
      });
      const result = contracted(checked, contracts);
      const chosen = since !== undefined || applied !== undefined || details === true;
      terminal.stdout.write(written(result, json ? "json" : format, chosen));
      finish(result.verdict === "safe" ? EXIT.good : EXIT.problems);
    });
  migrations
    .command("explain")
    .description("Explains a rule, or lists all of them.")
    .argument("[rule]", "such as drop-column")
    .action((rule: string | undefined) => {
      terminal.stdout.write(rule === undefined ? rulesText() : explainText(rule));
      finish(EXIT.good);
    });
  return migrations;
}
