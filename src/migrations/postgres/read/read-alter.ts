import type * as Pg from "libpg-query";
import { constantOf, optionsOf, stripCasts } from "../syntax/ast";
import { type Name, nameOfRangeVar } from "../syntax/names";
import { isOwnRole, objectName } from "../syntax/objects";
import { columnSpec, constraintSpec } from "../syntax/specs";
import { typeOf } from "../syntax/types";
import type { Action, LockMode, TableAction } from "./actions";

const VALUELESS: Action = { kind: "harmless" };

/** ALTER TABLE and what it shares its form with: ALTER INDEX, VIEW, SEQUENCE, MATERIALIZED VIEW and TYPE. */
export function readAlterTable({ relation, cmds, objtype }: Pg.AlterTableStmt): Action[] {
  const table = nameOfRangeVar(relation ?? {});
  const commands = (cmds ?? []).flatMap((node) => ("AlterTableCmd" in node ? [node.AlterTableCmd] : []));
  if (objtype === "OBJECT_TYPE") return commands.map((command) => attribute(table, command));
  return commands.flatMap((command) => readCommand(table, command, objectName(objtype)));
}

function attribute(name: Name, { subtype, name: dropped, def, newowner }: Pg.AlterTableCmd): Action {
  const verb = subtype === "AT_AddColumn" ? "ADD" : subtype === "AT_DropColumn" ? "DROP" : "ALTER";
  const added = def && "ColumnDef" in def ? def.ColumnDef.colname : undefined;
  if (subtype === "AT_ChangeOwner") return { kind: "owner", object: "type", name, own: isOwnRole(newowner) };
  return { kind: "attribute", name, verb, attribute: dropped ?? added ?? "" };
}

/** Reads one command of an ALTER. Long because it has one short case for each command of PostgreSQL. */
function readCommand(table: Name, command: Pg.AlterTableCmd, object: string): Action[] {
  const { subtype, name = "", def, missing_ok, behavior } = command;
  const of = (action: TableAction): Action[] => [{ table, ...action }];
  const minor = (lock: LockMode): Action[] => of({ kind: "alter-minor", lock });
  const cascade = behavior === "DROP_CASCADE";
  const rewrite = (what: string): Action[] => [{ kind: "rewrite", what, name: table, object }];
  switch (subtype) {
    case "AT_AddColumn":
      return def && "ColumnDef" in def
        ? of({ kind: "add-column", column: columnSpec(def.ColumnDef), ifNotExists: missing_ok === true })
        : unknown(subtype);
    case "AT_DropColumn":
      return of({ kind: "drop-column", column: name, ifExists: missing_ok === true, cascade });
    case "AT_ColumnDefault": {
      const nothing = def === undefined || isNull(def);
      return of(nothing ? { kind: "drop-default", column: name } : { kind: "set-default", column: name, value: def });
    }
    case "AT_SetNotNull":
      return of({ kind: "set-not-null", column: name });
    case "AT_DropNotNull":
      return of({ kind: "drop-not-null", column: name });
    case "AT_AlterColumnType": {
      if (!def || !("ColumnDef" in def)) return unknown(subtype);
      const { typeName, raw_default: using, collClause } = def.ColumnDef;
      const type = typeOf(typeName);
      return of({
        kind: "change-type",
        column: name,
        type,
        collated: collClause !== undefined,
        ...(using && { using }),
      });
    }
    case "AT_AddConstraint": {
      const constraint = def && "Constraint" in def ? constraintSpec(def.Constraint) : undefined;
      return constraint ? of({ kind: "add-constraint", constraint }) : unknown(subtype);
    }
    case "AT_ValidateConstraint":
      return of({ kind: "validate-constraint", name });
    case "AT_DropConstraint":
      return of({ kind: "drop-constraint", name, ifExists: missing_ok === true, cascade });
    case "AT_AlterConstraint":
      return minor("ACCESS EXCLUSIVE");
    case "AT_AddIdentity":
      return of({
        kind: "add-identity",
        column: name,
        always: def !== undefined && "Constraint" in def && def.Constraint.generated_when === "a",
      });
    case "AT_SetIdentity": {
      const options = optionsOf(def && "List" in def ? def.List.items : undefined);
      const generated = options.get("generated")?.arg;
      const when = generated && "Integer" in generated ? String.fromCharCode(generated.Integer.ival ?? 0) : undefined;
      const always = when === undefined ? undefined : when === "a";
      return of({ kind: "set-identity", column: name, always, restart: options.has("restart") });
    }
    case "AT_DropIdentity":
      return of({ kind: "drop-identity", column: name });
    case "AT_DropExpression":
      return of({ kind: "drop-expression", column: name });
    case "AT_SetExpression":
      return rewrite("SET EXPRESSION");
    case "AT_ChangeOwner":
      return [{ kind: "owner", object, name: table, own: isOwnRole(command.newowner) }];
    case "AT_EnableRowSecurity":
      return of({ kind: "row-security", what: "ENABLE ROW LEVEL SECURITY" });
    case "AT_DisableRowSecurity":
      return of({ kind: "row-security", what: "DISABLE ROW LEVEL SECURITY" });
    case "AT_ForceRowSecurity":
      return of({ kind: "row-security", what: "FORCE ROW LEVEL SECURITY" });
    case "AT_NoForceRowSecurity":
      return of({ kind: "row-security", what: "NO FORCE ROW LEVEL SECURITY" });
    case "AT_EnableTrig":
    case "AT_EnableAlwaysTrig":
    case "AT_EnableTrigAll":
    case "AT_EnableTrigUser":
      return of({ kind: "trigger-state", what: `ENABLE TRIGGER ${name}`.trim(), disables: false });
    case "AT_EnableReplicaTrig":
      return of({ kind: "trigger-state", what: `ENABLE REPLICA TRIGGER ${name}`, disables: true });
    case "AT_DisableTrig":
      return of({ kind: "trigger-state", what: `DISABLE TRIGGER ${name}`, disables: true });
    case "AT_DisableTrigAll":
    case "AT_DisableTrigUser":
      return of({
        kind: "trigger-state",
        what: `DISABLE TRIGGER ${subtype === "AT_DisableTrigAll" ? "ALL" : "USER"}`,
        disables: true,
      });
    case "AT_EnableRule":
    case "AT_EnableAlwaysRule":
      return of({ kind: "rule-state", what: "ENABLE RULE", name, disables: false });
    case "AT_EnableReplicaRule":
    case "AT_DisableRule":
      return of({ kind: "rule-state", what: "DISABLE RULE", name, disables: true });
    case "AT_ReplicaIdentity": {
      const identity = def && "ReplicaIdentityStmt" in def ? def.ReplicaIdentityStmt.identity_type : undefined;
      const kinds: Record<string, "default" | "full" | "nothing" | "index"> = {
        d: "default",
        f: "full",
        n: "nothing",
        i: "index",
      };
      return of({ kind: "replica-identity", to: kinds[identity ?? "n"] ?? "nothing" });
    }
    case "AT_AttachPartition": {
      const partition = def && "PartitionCmd" in def ? def.PartitionCmd : undefined;
      // ALTER INDEX ... ATTACH PARTITION has no bound, and changes the catalogue alone.
      if (!partition?.bound) return minor("SHARE UPDATE EXCLUSIVE");
      return of({ kind: "attach-partition", partition: nameOfRangeVar(partition.name ?? {}), bound: partition.bound });
    }
    case "AT_DetachPartition": {
      const partition = def && "PartitionCmd" in def ? def.PartitionCmd : {};
      const detach = of({
        kind: "detach-partition",
        partition: nameOfRangeVar(partition.name ?? {}),
        concurrently: partition.concurrent === true,
      });
      return partition.concurrent
        ? [{ kind: "outside-transaction", what: "DETACH PARTITION CONCURRENTLY" }, ...detach]
        : detach;
    }
    case "AT_DropInherit":
      return of({ kind: "no-inherit", parent: def && "RangeVar" in def ? nameOfRangeVar(def.RangeVar) : { name: "" } });
    case "AT_SetLogged":
      return rewrite("SET LOGGED");
    case "AT_SetUnLogged":
      return rewrite("SET UNLOGGED");
    case "AT_SetTableSpace":
      return rewrite("SET TABLESPACE");
    case "AT_SetAccessMethod":
      return rewrite("SET ACCESS METHOD");
    case "AT_SetRelOptions":
    case "AT_ResetRelOptions":
    case "AT_ReplaceRelOptions": {
      const invoker = optionsOf(def && "List" in def ? def.List.items : undefined).has("security_invoker");
      return object === "view" && invoker
        ? [
            {
              kind: "access",
              what: "security_invoker",
              subject: `view ${table.name}`,
              safe: "Make a new view for the new release.",
            },
          ]
        : minor("SHARE UPDATE EXCLUSIVE");
    }
    case "AT_SetStatistics":
    case "AT_SetOptions":
    case "AT_ResetOptions":
    case "AT_ClusterOn":
    case "AT_DropCluster":
    case "AT_DetachPartitionFinalize":
      return minor("SHARE UPDATE EXCLUSIVE");
    case "AT_SetStorage":
    case "AT_SetCompression":
    case "AT_AddInherit":
    case "AT_AddOf":
    case "AT_DropOf":
    case "AT_DropOids":
    case "AT_AlterColumnGenericOptions":
    case "AT_GenericOptions":
      return minor("ACCESS EXCLUSIVE");
    default:
      return unknown(subtype ?? "ALTER TABLE");
  }
}

const unknown = (what: string): Action[] => [
  {
    kind: "uninspectable",
    what: `${what} is not known to this checker`,
    fix: "Write it with statements that it knows.",
  },
  VALUELESS,
];

function isNull(node: Pg.Node): boolean {
  const inner = stripCasts(node);
  return "A_Const" in inner && constantOf(inner.A_Const) === null;
}
