import type * as Pg from "libpg-query";
import { type Name, nameOfParts, nameOfRangeVar, stringsOf } from "../syntax/names";
import { objectName, objectNameOf } from "../syntax/objects";
import type { Action } from "./actions";
import { signatureOf } from "./routine";

/** Dropped by the name of the table and their own: `DROP TRIGGER name ON table`. */
const PARTS_OF_TABLES = new Set(["OBJECT_TRIGGER", "OBJECT_RULE", "OBJECT_POLICY"]);

export function readDrop({ objects, removeType, behavior, missing_ok, concurrent }: Pg.DropStmt): Action[] {
  const object = objectName(removeType);
  const dropped = (objects ?? []).map((node): Action => {
    const names = "List" in node ? stringsOf(node.List.items) : [];
    const inTable = PARTS_OF_TABLES.has(removeType ?? "") && names.length > 1;
    const part = inTable ? names.at(-1) : undefined;
    return {
      kind: "drop",
      object,
      name: inTable ? nameOfParts(names.slice(0, -1)) : objectNameOf(node),
      ...(part !== undefined && { part }),
      ...("ObjectWithArgs" in node &&
        !node.ObjectWithArgs.args_unspecified && { signature: argumentsOf(node.ObjectWithArgs) }),
      ifExists: missing_ok === true,
      cascade: behavior === "DROP_CASCADE",
      concurrently: concurrent === true,
      together: (objects ?? []).length,
    };
  });
  return concurrent ? [{ kind: "outside-transaction", what: "DROP INDEX CONCURRENTLY" }, ...dropped] : dropped;
}

const argumentsOf = ({ objargs }: Pg.ObjectWithArgs): string =>
  signatureOf((objargs ?? []).map((node) => ("TypeName" in node ? node.TypeName : undefined)));

export function readRename({
  renameType,
  relationType,
  relation,
  object,
  subname,
  newname = "",
}: Pg.RenameStmt): Action[] {
  const name: Name = relation ? nameOfRangeVar(relation) : objectNameOf(object);
  if (renameType === "OBJECT_ATTRIBUTE") return [{ kind: "attribute", name, verb: "RENAME", attribute: subname ?? "" }];
  const kind = objectName(renameType);
  // ALTER TABLE ... RENAME COLUMN also renames those of views; the relation tells which it is.
  const of = renameType === "OBJECT_COLUMN" ? `column of ${objectName(relationType)}` : kind;
  const bare = kind === "schema" || kind === "role" || kind === "database" || kind === "tablespace";
  return [
    {
      kind: "rename",
      object: of,
      name: bare ? { name: subname ?? "" } : name,
      ...(!bare && subname !== undefined && { part: subname }),
      to: newname,
    },
  ];
}

export function readSetSchema({ objectType, relation, object, newschema = "" }: Pg.AlterObjectSchemaStmt): Action[] {
  const name = relation ? nameOfRangeVar(relation) : objectNameOf(object);
  return [{ kind: "set-schema", object: objectName(objectType), name, to: newschema }];
}
