import type * as Pg from "libpg-query";
import type { ObjectKind } from "../read/actions";
import { type Name, nameOfParts, nameOfRangeVar, stringsOf } from "./names";

export function objectName(type: Pg.ObjectType | undefined): ObjectKind {
  const plain = (type ?? "").replace("OBJECT_", "");
  const spoken: Record<string, string> = {
    MATVIEW: "materialized view",
    FDW: "foreign-data wrapper",
    TSCONFIGURATION: "text search configuration",
    TSDICTIONARY: "text search dictionary",
    TSPARSER: "text search parser",
    TSTEMPLATE: "text search template",
    OPCLASS: "operator class",
    OPFAMILY: "operator family",
    STATISTIC_EXT: "statistics",
    TABCONSTRAINT: "constraint",
    DOMCONSTRAINT: "domain constraint",
    FOREIGN_SERVER: "server",
    EVENT_TRIGGER: "event trigger",
  };
  return spoken[plain] ?? plain.toLowerCase().replaceAll("_", " ");
}

/** The name of an object as statements about any kind of object hold it. */
export function objectNameOf(node: Pg.Node | undefined): Name {
  if (node === undefined) return { name: "" };
  if ("List" in node) return nameOfParts(stringsOf(node.List.items));
  if ("String" in node) return { name: node.String.sval ?? "" };
  if ("TypeName" in node) return nameOfParts(stringsOf(node.TypeName.names));
  if ("ObjectWithArgs" in node) return nameOfParts(stringsOf(node.ObjectWithArgs.objname));
  if ("RangeVar" in node) return nameOfRangeVar(node.RangeVar);
  return { name: "" };
}

/** Whether a role is the one that runs the migration, which owns what it may give away. */
export const isOwnRole = (role: Pg.RoleSpec | undefined): boolean =>
  /^ROLESPEC_(?:CURRENT_USER|CURRENT_ROLE|SESSION_USER)$/.test(role?.roletype ?? "");

export const rangeVars = (nodes: readonly Pg.Node[] | undefined): Name[] =>
  (nodes ?? []).flatMap((node) => ("RangeVar" in node ? [nameOfRangeVar(node.RangeVar)] : []));
