import { Command, Option } from "commander";
import { checkMigrations, type Dialect, type TransactionMode } from "../migrations";
import { safeJson, safeText } from "../model/types/safe-text";
import { EXIT, type ExitCode, type Terminal } from "./common/exit";
import { explainText, rulesText } from "./migrations/explain";
import { checkDocument, checkText } from "./migrations/report";
import { readMigrations, readSchema } from "./migrations/sources";

const DETAILS = `
Each file is checked as pending after the ones before it, which define the database at that point. Folders are read with
their subfolders, in the order of versions; undo files are left out. Files of goose, dbmate, golang-migrate (.up.sql) and
Flyway (V1__x.sql) are recognized by their names and annotations.

Exit codes: ${EXIT.good} safe, ${EXIT.problems} unsafe, ${EXIT.usageError} usage.`;

interface CheckGiven {
  dialect: Dialect;
  transaction: TransactionMode;
  schema?: string;
  json?: boolean;
}

/** `sluice migrations`: checks SQL migrations without Pulumi, and explains the rules. */
export function migrationsCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  const migrations = new Command("migrations").description(
    "Checks whether SQL migrations are safe while two releases overlap.",
  );
  migrations
    .command("check")
    .description("Says for each migration whether it is safe, why not, and what to write instead.")
    .argument("<path...>", "files in their order, or folders")
    .addOption(
      new Option("--dialect <dialect>", "dialect of the SQL")
        .choices(["postgres", "mysql", "sqlite"])
        .default("postgres"),
    )
    .addOption(
      new Option("--transaction <mode>", "whether the runner wraps each file in a transaction")
        .choices(["per-file", "none"])
        .default("per-file"),
    )
    .option("--schema <file>", "SQL of the database so far, such as the output of pg_dump --schema-only")
    .option("--json", "print the findings as JSON")
    .addHelpText("after", DETAILS)
    .action(async (paths: string[], { dialect, transaction, schema, json }: CheckGiven) => {
      const files = await readMigrations(paths);
      const result = await checkMigrations(files, {
        dialect,
        transaction,
        ...(schema !== undefined && { schema: await readSchema(schema) }),
      });
      terminal.stdout.write(json ? `${safeJson(checkDocument(result), 2)}\n` : safeText(checkText(result)));
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
