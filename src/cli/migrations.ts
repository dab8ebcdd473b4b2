import { Command, Option } from "commander";
import { checkMigrations, type Dialect, type TransactionMode } from "../migrations";
import { EXIT, type ExitCode, type Terminal } from "./common/exit";
import { explainText, rulesText } from "./migrations/explain";
import { checkDocument, checkText } from "./migrations/report";
import { readMigrations, readSchema } from "./migrations/sources";

const DETAILS = `
Each file is judged as pending after the ones before it, which tell what the database looks like then. Folders are read
in the order of their versions, with the folders in them; files that undo others are left out. goose, dbmate,
golang-migrate (.up.sql) and Flyway (V1__x.sql) are known by their names and annotations.

Exit codes: ${EXIT.good} safe, ${EXIT.problems} unsafe, ${EXIT.usageError} usage.`;

interface CheckGiven {
  dialect: Dialect;
  transaction: TransactionMode;
  schema?: string;
  json?: boolean;
}

/** `sluice migrations`: judges SQL migrations without Pulumi, and explains the rules. */
export function migrationsCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  const migrations = new Command("migrations").description(
    "Judges SQL migrations: may they run while two releases overlap?",
  );
  migrations
    .command("check")
    .description("Tells of each migration whether it is safe, why not, and what to write instead.")
    .argument("<path...>", "files in their order, or folders")
    .addOption(
      new Option("--dialect <dialect>", "of the SQL").choices(["postgres", "mysql", "sqlite"]).default("postgres"),
    )
    .addOption(
      new Option("--transaction <mode>", "whether the runner wraps each file in a transaction")
        .choices(["per-file", "none"])
        .default("per-file"),
    )
    .option("--schema <file>", "SQL that made the database so far, such as the output of pg_dump --schema-only")
    .option("--json", "print the findings as JSON")
    .addHelpText("after", DETAILS)
    .action(async (paths: string[], { dialect, transaction, schema, json }: CheckGiven) => {
      const files = await readMigrations(paths);
      const result = await checkMigrations(files, {
        dialect,
        transaction,
        ...(schema !== undefined && { schema: await readSchema(schema) }),
      });
      terminal.stdout.write(json ? `${JSON.stringify(checkDocument(result), null, 2)}\n` : checkText(result));
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
