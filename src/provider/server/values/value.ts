import { ListValue, NullValue, Struct, Value } from "google-protobuf/google/protobuf/struct_pb";
import { contains, type Path, renderPath } from "./path";
import { isUnknown, UNKNOWN } from "./unknown";

/** Property bags as handlers see them: plain JSON values, with `UNKNOWN` where a preview cannot know; keys come sorted. */
export type Properties = Record<string, unknown>;

export interface Unmarshalled {
  value: Properties;
  /** Every outermost path whose value is secret. */
  secretPaths: Path[];
}

/** The engine's wire forms for what JSON cannot say (sdk/go/common/resource: sig.go, unknowns in plugin/rpc.go). */
const SIGNATURE = "4dabf18193072939515e22adb298388d";
const SECRET = "1b47061264138c4ac30d75fd1eb44270";
const OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4";
const RESOURCE = "5cf8f73096256a8f31e491e813e4eb8e";
const ASSET = "c44067f5952c0a294b673a41bacd8c17";
const ARCHIVE = "0def7320c3a5731c473e5ecbe6d01bc7";
const UNKNOWN_TEXT = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";
const UNKNOWN_TEXTS = new Set([
  UNKNOWN_TEXT,
  "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
  "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
  "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
  "030794c1-ac77-496b-92df-f27374a8bd58",
  "e48ece36-62e2-4504-bad9-02848725956a",
  "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
]);

/**
 * Reads a property bag off the wire.
 * Output values become their value (or `UNKNOWN`), resource references the resource's id (or its URN).
 * @throws Error with the path, for an asset or an archive
 */
export function unmarshal(struct: Struct | undefined): Unmarshalled {
  const secretPaths: Path[] = [];
  const value = struct ? readStruct(struct, [], secretPaths) : {};
  return { value, secretPaths };
}

function readStruct(struct: Struct, path: Path, secretPaths: Path[]): Properties {
  const object: Properties = {};
  struct.getFieldsMap().forEach((value, key) => {
    object[key] = readValue(value, [...path, key], secretPaths);
  });
  return object;
}

function readValue(value: Value, path: Path, secretPaths: Path[]): unknown {
  switch (value.getKindCase()) {
    case Value.KindCase.STRING_VALUE: {
      const text = value.getStringValue();
      return UNKNOWN_TEXTS.has(text) ? UNKNOWN : text;
    }
    case Value.KindCase.NUMBER_VALUE:
      return value.getNumberValue();
    case Value.KindCase.BOOL_VALUE:
      return value.getBoolValue();
    case Value.KindCase.LIST_VALUE:
      return (value.getListValue()?.getValuesList() ?? []).map((item, i) => readValue(item, [...path, i], secretPaths));
    case Value.KindCase.STRUCT_VALUE: {
      const struct = value.getStructValue() ?? new Struct();
      const signature = struct.getFieldsMap().get(SIGNATURE)?.getStringValue();
      return signature === undefined
        ? readStruct(struct, path, secretPaths)
        : readSpecial(signature, struct, path, secretPaths);
    }
    default:
      return null;
  }
}

function readSpecial(signature: string, struct: Struct, path: Path, secretPaths: Path[]): unknown {
  const fields = struct.getFieldsMap();
  const inner = fields.get("value");
  if (signature === SECRET) return readSecret(inner, path, secretPaths);
  if (signature === OUTPUT) {
    if (fields.get("secret")?.getBoolValue()) return readSecret(inner, path, secretPaths);
    return inner ? readValue(inner, path, secretPaths) : UNKNOWN;
  }
  if (signature === RESOURCE) {
    const id = fields.get("id");
    const known = id ? readValue(id, path, secretPaths) : undefined;
    return known === undefined || known === "" ? fields.get("urn")?.getStringValue() : known;
  }
  const what = signature === ASSET ? "an asset" : signature === ARCHIVE ? "an archive" : "a value of an unknown kind";
  throw new Error(`${renderPath(path)} is ${what}, which sluice cannot take: give a path as a string`);
}

function readSecret(inner: Value | undefined, path: Path, secretPaths: Path[]): unknown {
  secretPaths.push(path);
  // A secret's contents are secret as a whole: paths below it would only repeat that.
  return inner ? readValue(inner, path, []) : UNKNOWN;
}

/**
 * Writes a property bag for the wire. Undefined properties are left out.
 * @param secretPaths values at these paths (wildcards allowed) are marked secret; a path that leads nowhere is ignored
 * @param isSecretText marks further strings as secret by what they hold
 * @throws Error with the path, for what has no wire form (functions, bigint, NaN, class instances)
 */
export function marshal(
  value: Properties,
  secretPaths: readonly Path[] = [],
  isSecretText: (text: string) => boolean = () => false,
): Struct {
  return writeStruct(value, { path: [], secretPaths, isSecretText });
}

interface Writing {
  path: Path;
  /** Secret paths that can still match at or below `path`. */
  secretPaths: readonly Path[];
  isSecretText: (text: string) => boolean;
}

function writeStruct(object: Properties, at: Writing): Struct {
  const struct = new Struct();
  const fields = struct.getFieldsMap();
  for (const [key, item] of Object.entries(object)) {
    if (item !== undefined) fields.set(key, writeValue(item, below(at, key)));
  }
  return struct;
}

function below(at: Writing, element: string | number): Writing {
  const depth = at.path.length;
  const matches = (path: Path) => path[depth] === element || path[depth] === "*";
  const secretPaths = at.secretPaths.length === 0 ? at.secretPaths : at.secretPaths.filter(matches);
  return { path: [...at.path, element], secretPaths, isSecretText: at.isSecretText };
}

function writeValue(item: unknown, at: Writing): Value {
  const secret =
    at.secretPaths.some((path) => contains(path, at.path)) || (typeof item === "string" && at.isSecretText(item));
  if (!secret) return writePlain(item, at);
  const wrapped = new Struct();
  wrapped.getFieldsMap().set(SIGNATURE, text(SECRET));
  wrapped.getFieldsMap().set("value", writePlain(item, { ...at, secretPaths: [], isSecretText: () => false }));
  const value = new Value();
  value.setStructValue(wrapped);
  return value;
}

function writePlain(item: unknown, at: Writing): Value {
  const value = new Value();
  if (item === null || item === undefined) value.setNullValue(NullValue.NULL_VALUE);
  else if (isUnknown(item)) value.setStringValue(UNKNOWN_TEXT);
  else if (typeof item === "string") value.setStringValue(item);
  else if (typeof item === "number" && Number.isFinite(item)) value.setNumberValue(item);
  else if (typeof item === "boolean") value.setBoolValue(item);
  else if (Array.isArray(item)) {
    const list = new ListValue();
    list.setValuesList(item.map((element, i) => writeValue(element, below(at, i))));
    value.setListValue(list);
  } else if (isPlainObject(item)) value.setStructValue(writeStruct(item, at));
  else throw new Error(`${renderPath(at.path)} holds ${describe(item)}, which has no place in a resource's properties`);
  return value;
}

function text(content: string): Value {
  const value = new Value();
  value.setStringValue(content);
  return value;
}

function describe(item: unknown): string {
  return typeof item === "object" && item !== null ? `a ${item.constructor?.name ?? "bare object"}` : typeof item;
}

function isPlainObject(item: unknown): item is Properties {
  if (typeof item !== "object" || item === null) return false;
  const prototype = Object.getPrototypeOf(item);
  return prototype === Object.prototype || prototype === null;
}
