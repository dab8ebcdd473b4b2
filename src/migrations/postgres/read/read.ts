import type * as Pg from "libpg-query";
import { columnsIn, isOn, optionsOf, optionText, unwrap } from "../syntax/ast";
import { type Name, nameOfParts, nameOfRangeVar, stringsOf } from "../syntax/names";
import { isOwnRole, objectName, objectNameOf, rangeVars } from "../syntax/objects";
import { constraintSpec } from "../syntax/specs";
import { typeOf } from "../syntax/types";
import type { Action, DomainChange, ObjectKind } from "./actions";
import { readAlterTable } from "./read-alter";
import { readDrop, readRename, readSetSchema } from "./read-change";
import { readCreateForeignTable, readCreateTable, readIndex, readSequence, readTableAs, readView } from "./read-create";

import { routineShape } from "./routine";

const HARMLESS: Action[] = [{ kind: "harmless" }];
const other = (object: string, name: string | undefined, ifNotExists = false): Action[] => [
  { kind: "create-other", object, name: name ?? "", ifNotExists },
];
const outside = (what: string): Action => ({ kind: "outside-transaction", what });
const access = (what: string, subject: string, safe: string): Action[] => [{ kind: "access", what, subject, safe }];
const BY_PART_MODE = [
  "ACCESS SHARE",
  "ROW SHARE",
  "ROW EXCLUSIVE",
  "SHARE UPDATE EXCLUSIVE",
  "SHARE",
  "SHARE ROW EXCLUSIVE",
  "EXCLUSIVE",
  "ACCESS EXCLUSIVE",
] as const;
const CONTRACT = "Do it in a contract migration, when no release that relies on it is left.";
const NOT_ROLE_SETTINGS = "Set it for the new release's own connections, such as in its connection string.";

/**
 * Actions of a statement of data definition. Undefined: it is none (data, transactions, blocks of code, settings),
 * which the runner of statements knows by itself. Statements that nobody foresaw are uninspectable, never harmless.
 */
export function readStatement(node: Pg.Node): Action[] | undefined {
  const reader = READERS[unwrap(node)[0]];
  return reader?.(unwrap(node)[1] as never);
}

type Reader = (body: never) => Action[];
const read = <Body>(reader: (body: Body) => Action[]): Reader => reader as unknown as Reader;
const harmless = () => HARMLESS;

const READERS: Record<string, Reader> = {
  CreateStmt: read(readCreateTable),
  CreateForeignTableStmt: read(readCreateForeignTable),
  CreateTableAsStmt: read(readTableAs),
  ViewStmt: read(readView),
  CreateSeqStmt: read(readSequence),
  IndexStmt: read(readIndex),
  AlterTableStmt: read(readAlterTable),
  DropStmt: read(readDrop),
  RenameStmt: read(readRename),
  AlterObjectSchemaStmt: read(readSetSchema),
  CreateEnumStmt: read(({ typeName, vals }: Pg.CreateEnumStmt): Action[] => [
    { kind: "create-type", name: nameOfParts(stringsOf(typeName)), type: "enum", values: stringsOf(vals) },
  ]),
  CompositeTypeStmt: read((body: Pg.CompositeTypeStmt): Action[] => [
    { kind: "create-type", name: nameOfRangeVar(body.typevar ?? {}), type: "composite" },
  ]),
  CreateRangeStmt: read((body: Pg.CreateRangeStmt) => createType(body.typeName, "range")),
  DefineStmt: read((body: Pg.DefineStmt) =>
    body.kind === "OBJECT_TYPE" ? createType(body.defnames, "base") : other(objectName(body.kind), undefined),
  ),
  CreateDomainStmt: read(createDomain),
  AlterDomainStmt: read(alterDomain),
  AlterEnumStmt: read(({ typeName, oldVal, newVal = "", skipIfNewValExists }: Pg.AlterEnumStmt): Action[] => {
    const name = nameOfParts(stringsOf(typeName));
    return oldVal === undefined
      ? [{ kind: "enum-value", name, value: newVal, ifNotExists: skipIfNewValExists === true }]
      : [{ kind: "rename-enum-value", name, from: oldVal, to: newVal }];
  }),
  CreateSchemaStmt: read(({ schemaname, authrole, schemaElts, if_not_exists }: Pg.CreateSchemaStmt): Action[] => {
    const schema = schemaname ?? authrole?.rolename ?? "";
    const inside = (schemaElts ?? []).flatMap((element) => readStatement(withSchema(element, schema)) ?? []);
    return [...other("schema", schema, if_not_exists), ...inside];
  }),
  CreateExtensionStmt: read(({ extname, if_not_exists }: Pg.CreateExtensionStmt) =>
    other("extension", extname, if_not_exists),
  ),
  CreateRoleStmt: read(({ role }: Pg.CreateRoleStmt) => other("role", role)),
  CreatedbStmt: read(() => [outside("CREATE DATABASE")]),
  DropdbStmt: read(({ dbname = "" }: Pg.DropdbStmt): Action[] => [
    outside("DROP DATABASE"),
    dropOf("database", { name: dbname }),
  ]),
  CreateTableSpaceStmt: read(() => [outside("CREATE TABLESPACE")]),
  DropTableSpaceStmt: read(({ tablespacename = "" }: Pg.DropTableSpaceStmt): Action[] => [
    outside("DROP TABLESPACE"),
    dropOf("tablespace", { name: tablespacename }),
  ]),
  CreateFunctionStmt: read((body: Pg.CreateFunctionStmt): Action[] => [
    { kind: "create-routine", ...routineShape(body) },
  ]),
  CreateTrigStmt: read(readTrigger),
  RuleStmt: read(({ relation, rulename = "" }: Pg.RuleStmt): Action[] => [
    { kind: "create-rule", table: nameOfRangeVar(relation ?? {}), name: rulename },
  ]),
  CreatePolicyStmt: read(({ table, policy_name: name = "", permissive }: Pg.CreatePolicyStmt): Action[] => [
    { kind: "create-policy", table: nameOfRangeVar(table ?? {}), name, restrictive: permissive !== true },
  ]),
  AlterPolicyStmt: read(({ table, policy_name: name = "" }: Pg.AlterPolicyStmt): Action[] => [
    { kind: "alter-policy", table: nameOfRangeVar(table ?? {}), name },
  ]),
  GrantStmt: read(readGrant),
  GrantRoleStmt: read(({ is_grant, granted_roles }: Pg.GrantRoleStmt) =>
    is_grant ? HARMLESS : access("REVOKE", `membership of ${rolesOf(granted_roles)}`, CONTRACT),
  ),
  // It changes the privileges of objects that are still to be made.
  AlterDefaultPrivilegesStmt: harmless,
  AlterRoleStmt: read(({ role, options }: Pg.AlterRoleStmt) => {
    const name = role?.rolename ?? "current role";
    const [option] = options ?? [];
    const members = option && "DefElem" in option && option.DefElem.defname === "rolemembers";
    // ALTER GROUP ... ADD USER only gives.
    return members ? HARMLESS : access("ALTER ROLE", `role ${name}`, CONTRACT);
  }),
  AlterRoleSetStmt: read(({ role }: Pg.AlterRoleSetStmt) =>
    access("ALTER ROLE ... SET", role ? `role ${role.rolename ?? ""}` : "all roles", NOT_ROLE_SETTINGS),
  ),
  AlterDatabaseSetStmt: read(({ dbname = "" }: Pg.AlterDatabaseSetStmt) =>
    access("ALTER DATABASE ... SET", `database ${dbname}`, NOT_ROLE_SETTINGS),
  ),
  AlterDatabaseStmt: read(({ dbname = "" }: Pg.AlterDatabaseStmt) =>
    access("ALTER DATABASE", `database ${dbname}`, CONTRACT),
  ),
  AlterDatabaseRefreshCollStmt: harmless,
  AlterSystemStmt: read((): Action[] => [
    outside("ALTER SYSTEM"),
    ...access("ALTER SYSTEM", "the server", NOT_ROLE_SETTINGS),
  ]),
  DropRoleStmt: read(({ roles }: Pg.DropRoleStmt): Action[] =>
    (roles ?? []).map((node) => dropOf("role", { name: ("RoleSpec" in node && node.RoleSpec.rolename) || "" })),
  ),
  DropOwnedStmt: read(({ roles }: Pg.DropOwnedStmt): Action[] => [
    dropOf("everything owned by", { name: rolesOf(roles) }),
  ]),
  ReassignOwnedStmt: read(({ roles }: Pg.ReassignOwnedStmt) => access("REASSIGN OWNED", rolesOf(roles), CONTRACT)),
  AlterOwnerStmt: read(({ objectType, object, relation, newowner }: Pg.AlterOwnerStmt): Action[] => [
    {
      kind: "owner",
      object: objectName(objectType),
      name: relation ? nameOfRangeVar(relation) : objectNameOf(object),
      own: isOwnRole(newowner),
    },
  ]),
  TruncateStmt: read(({ relations, restart_seqs, behavior }: Pg.TruncateStmt): Action[] =>
    rangeVars(relations).map((table) => ({
      kind: "truncate",
      table,
      restart: restart_seqs === true,
      cascade: behavior === "DROP_CASCADE",
    })),
  ),
  ReindexStmt: read(({ kind, relation, name, params }: Pg.ReindexStmt): Action[] => {
    const what = (kind ?? "").replace("REINDEX_OBJECT_", "");
    const concurrently = isOn(optionsOf(params).get("concurrently"));
    const target = relation ? nameOfRangeVar(relation) : name === undefined ? undefined : { name };
    const alone = concurrently || /SCHEMA|SYSTEM|DATABASE/.test(what);
    return [
      ...(alone ? [outside(`REINDEX ${what}${concurrently ? " CONCURRENTLY" : ""}`)] : []),
      { kind: "reindex", what, concurrently, ...(target && { name: target }) },
    ];
  }),
  RefreshMatViewStmt: read(({ relation, concurrent, skipData }: Pg.RefreshMatViewStmt): Action[] => [
    {
      kind: "refresh",
      view: nameOfRangeVar(relation ?? {}),
      concurrently: concurrent === true,
      withData: skipData !== true,
    },
  ]),
  ClusterStmt: read(({ relation }: Pg.ClusterStmt): Action[] =>
    relation
      ? [{ kind: "rewrite", what: "CLUSTER", name: nameOfRangeVar(relation), object: "table" }]
      : [outside("CLUSTER of all tables"), { kind: "rewrite", what: "CLUSTER", object: "table" }],
  ),
  VacuumStmt: read(readVacuum),
  LockStmt: read(({ relations, mode = 8 }: Pg.LockStmt): Action[] =>
    rangeVars(relations).map((table) => ({
      kind: "lock-table",
      table,
      mode: BY_PART_MODE[mode - 1] ?? "ACCESS EXCLUSIVE",
    })),
  ),
  AlterSeqStmt: read(({ sequence, options }: Pg.AlterSeqStmt): Action[] => {
    const given = optionsOf(options);
    const change = given.has("restart") ? "restart" : isOn(given.get("cycle")) ? "cycle" : "other";
    return [{ kind: "sequence", name: nameOfRangeVar(sequence ?? {}), change }];
  }),
  CreatePublicationStmt: read(
    ({ pubname = "", for_all_tables, pubobjects, options }: Pg.CreatePublicationStmt): Action[] => [
      publication(pubname, pubobjects, options, for_all_tables === true),
    ],
  ),
  AlterPublicationStmt: read(
    ({ pubname = "", pubobjects, options, for_all_tables, action }: Pg.AlterPublicationStmt): Action[] =>
      action === "AP_DropObjects"
        ? [dropOf("table of publication", { name: pubname })]
        : [publication(pubname, pubobjects, options, for_all_tables === true)],
  ),
  CreateSubscriptionStmt: read(() => [outside("CREATE SUBSCRIPTION")]),
  DropSubscriptionStmt: read(({ subname = "" }: Pg.DropSubscriptionStmt): Action[] => [
    outside("DROP SUBSCRIPTION"),
    dropOf("subscription", { name: subname }),
  ]),
  AlterSubscriptionStmt: read(({ subname = "" }: Pg.AlterSubscriptionStmt) =>
    access("ALTER SUBSCRIPTION", `subscription ${subname}`, CONTRACT),
  ),
  DropUserMappingStmt: read(({ servername = "" }: Pg.DropUserMappingStmt): Action[] => [
    dropOf("user mapping", { name: servername }),
  ]),
  AlterTableMoveAllStmt: read((): Action[] => [{ kind: "rewrite", what: "SET TABLESPACE", object: "table" }]),
  AlterTableSpaceOptionsStmt: harmless,
  AlterExtensionStmt: read(({ extname = "" }: Pg.AlterExtensionStmt): Action[] => [
    {
      kind: "uninspectable",
      what: `the update script of extension ${extname} is not part of the migration`,
      fix: "Update the extension by hand, after reading its script for what it drops or changes.",
    },
  ]),
  AlterExtensionContentsStmt: harmless,
  AlterEventTrigStmt: read(({ trigname = "", tgenabled }: Pg.AlterEventTrigStmt) =>
    tgenabled === "D" || tgenabled === "R"
      ? access("ALTER EVENT TRIGGER ... DISABLE", `event trigger ${trigname}`, CONTRACT)
      : HARMLESS,
  ),
  AlterFunctionStmt: read(({ func, actions }: Pg.AlterFunctionStmt) => {
    const secured = optionsOf(actions).get("security");
    const name = objectNameOf(func ? { ObjectWithArgs: func } : undefined);
    return secured ? access("ALTER FUNCTION ... SECURITY", `function ${name.name}`, CONTRACT) : HARMLESS;
  }),
  LoadStmt: read(({ filename = "" }: Pg.LoadStmt): Action[] => [
    {
      kind: "uninspectable",
      what: `LOAD runs the code of ${filename}`,
      fix: "Load the library by the server's configuration.",
    },
  ]),
  CreateCastStmt: read(() => other("cast", undefined)),
  CreateConversionStmt: read(() => other("conversion", undefined)),
  CreateEventTrigStmt: read(({ trigname }: Pg.CreateEventTrigStmt) => other("event trigger", trigname)),
  CreateFdwStmt: read(({ fdwname }: Pg.CreateFdwStmt) => other("foreign-data wrapper", fdwname)),
  CreateForeignServerStmt: read(({ servername, if_not_exists }: Pg.CreateForeignServerStmt) =>
    other("server", servername, if_not_exists),
  ),
  CreateAmStmt: read(({ amname }: Pg.CreateAmStmt) => other("access method", amname)),
  CreateOpClassStmt: read(() => other("operator class", undefined)),
  CreateOpFamilyStmt: read(() => other("operator family", undefined)),
  CreatePLangStmt: read(({ plname }: Pg.CreatePLangStmt) => other("language", plname)),
  CreateStatsStmt: read(({ defnames }: Pg.CreateStatsStmt) => other("statistics", stringsOf(defnames).join("."))),
  CreateTransformStmt: read(() => other("transform", undefined)),
  CreateUserMappingStmt: read(({ servername }: Pg.CreateUserMappingStmt) => other("user mapping", servername)),
  ImportForeignSchemaStmt: harmless,
  AlterCollationStmt: harmless,
  AlterFdwStmt: harmless,
  AlterForeignServerStmt: harmless,
  AlterUserMappingStmt: harmless,
  AlterObjectDependsStmt: harmless,
  AlterOperatorStmt: harmless,
  AlterOpFamilyStmt: harmless,
  AlterStatsStmt: harmless,
  AlterTSConfigurationStmt: harmless,
  AlterTSDictionaryStmt: harmless,
  AlterTypeStmt: harmless,
  CommentStmt: harmless,
  SecLabelStmt: harmless,
};

const rolesOf = (nodes: readonly Pg.Node[] | undefined): string =>
  (nodes ?? [])
    .map((node) =>
      "RoleSpec" in node ? node.RoleSpec.rolename : "AccessPriv" in node ? node.AccessPriv.priv_name : "",
    )
    .join(", ");

const dropOf = (object: ObjectKind, name: Name): Action => ({
  kind: "drop",
  object,
  name,
  ifExists: false,
  cascade: false,
  concurrently: false,
  together: 1,
});

function createType(names: readonly Pg.Node[] | undefined, type: "range" | "base"): Action[] {
  return [{ kind: "create-type", name: nameOfParts(stringsOf(names)), type }];
}

function createDomain({ domainname, typeName, constraints }: Pg.CreateDomainStmt): Action[] {
  const constrained = (constraints ?? []).some(
    (node) => "Constraint" in node && ["CONSTR_CHECK", "CONSTR_NOTNULL"].includes(node.Constraint.contype ?? ""),
  );
  const domain = { base: typeOf(typeName), constrained };
  return [{ kind: "create-type", name: nameOfParts(stringsOf(domainname)), type: "domain", domain }];
}

function alterDomain({ subtype, typeName, def }: Pg.AlterDomainStmt): Action[] {
  const changes: Record<string, DomainChange> = {
    T: def ? "set-default" : "drop-default",
    N: "drop-not-null",
    O: "set-not-null",
    C: "add-constraint",
    X: "drop-constraint",
    V: "validate",
  };
  const constraint = def && "Constraint" in def ? constraintSpec(def.Constraint) : undefined;
  const change = changes[subtype ?? ""] ?? "add-constraint";
  return [{ kind: "alter-domain", name: nameOfParts(stringsOf(typeName)), change, ...(constraint && { constraint }) }];
}

function readTrigger({
  relation,
  trigname = "",
  replace,
  columns,
  events = 0,
  ...others
}: Pg.CreateTrigStmt): Action[] {
  const form = JSON.stringify(others, (key, value) => (key === "location" ? undefined : value));
  return [
    {
      kind: "create-trigger",
      table: nameOfRangeVar(relation ?? {}),
      name: trigname,
      replace: replace === true,
      columns: [...stringsOf(columns), ...columnsIn(others.whenClause)],
      shape: { events, columns: stringsOf(columns), form },
    },
  ];
}

function privilegeOf({ priv_name = "all", cols }: Pg.AccessPriv): string {
  const columns = stringsOf(cols);
  return columns.length === 0 ? priv_name.toLowerCase() : `${priv_name.toLowerCase()} (${columns.join(", ")})`;
}

function readGrant({
  is_grant,
  objtype,
  targtype,
  objects,
  privileges,
  grantees,
  grant_option,
}: Pg.GrantStmt): Action[] {
  const names = (objects ?? []).map(objectNameOf);
  const what =
    privileges === undefined
      ? ["all"]
      : privileges.flatMap((node) =>
          // A privilege on some columns only is not the one on the table.
          "AccessPriv" in node && (is_grant || node.AccessPriv.cols === undefined)
            ? [privilegeOf(node.AccessPriv)]
            : [],
        );
  const kind = targtype === "ACL_TARGET_ALL_IN_SCHEMA" ? "schema" : objectName(objtype);
  if (!is_grant) return [{ kind: "revoke", object: kind, names, what: what.join(", ").toUpperCase() }];
  return targtype === "ACL_TARGET_OBJECT" && objtype === "OBJECT_TABLE"
    ? [
        {
          kind: "grant",
          objects: names,
          privileges: what,
          grantees: (grantees ?? []).flatMap((node) => {
            if (!("RoleSpec" in node)) return [];
            const { roletype, rolename = roletype ?? "" } = node.RoleSpec;
            const to = roletype === "ROLESPEC_PUBLIC" ? "PUBLIC" : rolename;
            return grant_option ? [to, `${to} WITH GRANT OPTION`] : [to];
          }),
        },
      ]
    : HARMLESS;
}

function readVacuum({ options, rels, is_vacuumcmd }: Pg.VacuumStmt): Action[] {
  if (!is_vacuumcmd) return HARMLESS;
  if (!isOn(optionsOf(options).get("full"))) return [outside("VACUUM")];
  const tables = (rels ?? []).flatMap((node) =>
    "VacuumRelation" in node && node.VacuumRelation.relation ? [nameOfRangeVar(node.VacuumRelation.relation)] : [],
  );
  const each = tables.map((name): Action => ({ kind: "rewrite", what: "VACUUM FULL", name, object: "table" }));
  return [
    outside("VACUUM"),
    ...(each.length > 0 ? each : [{ kind: "rewrite", what: "VACUUM FULL", object: "table" } as const]),
  ];
}

function publication(
  name: string,
  objects: readonly Pg.Node[] | undefined,
  options: readonly Pg.Node[] | undefined,
  everything: boolean,
): Action {
  const published = optionsOf(options).get("publish");
  const what = published ? (optionText(published) ?? "") : "insert, update, delete, truncate";
  const specs = (objects ?? []).flatMap((node) => ("PublicationObjSpec" in node ? [node.PublicationObjSpec] : []));
  return {
    kind: "publication",
    name,
    all: everything || specs.some(({ pubobjtype }) => /SCHEMA/.test(pubobjtype ?? "")),
    tables: specs.flatMap(({ pubtable }) => (pubtable?.relation ? [nameOfRangeVar(pubtable.relation)] : [])),
    deletes: /update|delete/i.test(what),
    adds: specs.length > 0 || everything,
  };
}

/** CREATE SCHEMA makes the objects inside of it in that schema. */
function withSchema(node: Pg.Node, schema: string): Pg.Node {
  const [kind, body] = unwrap(node);
  const at = kind === "ViewStmt" ? "view" : kind === "CreateSeqStmt" ? "sequence" : "relation";
  const relation = body[at] as Pg.RangeVar | undefined;
  return { [kind]: { ...body, [at]: { schemaname: schema, ...relation } } } as unknown as Pg.Node;
}
